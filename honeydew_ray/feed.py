"""Takes a queue's events to one subscriber in its process, at the subscriber's pace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from honeydew_ray.event_log import EventLog, event_of
from honeydew_ray.failure import type_name
from honeydew_ray.status import QueueStatus
from honeydew_ray.subscribers.base import Subscriber

log = logging.getLogger("honeydew_ray")

_PATIENCE_S = 30.0
_FAREWELL_S = 5.0
"""How long a queue that is stopped waits for a subscriber to take in the last events."""


class Feed:
    """Reads the log for a subscriber, and calls it on its own thread, one call at a time.

    The next events are read when it has dealt with the last, so nothing piles up for it but what the
    log keeps anyway.
    """

    def __init__(self, subscriber: Subscriber, events: EventLog, status: Callable[[], Awaitable[QueueStatus]]) -> None:
        self._subscriber = subscriber
        self._events = events
        self._status = status
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name=f"honeydew-{type(subscriber).__name__}", daemon=True).start()

    async def run(self) -> None:
        """Feed the subscriber until the log is closed and read to its end."""
        every_s, upto = self._subscriber.status_every_s, 0
        await self._call(self._subscriber.opened, self._events.queue)
        next_look = _now()
        while True:
            if every_s is not None and _now() >= next_look:
                await self._look()
                next_look = _now() + every_s
            patience_s = _PATIENCE_S if every_s is None else max(next_look - _now(), 0.0)
            if await self._events.wait(self._events.incarnation, upto, patience_s):
                page = self._events.read(self._events.incarnation, upto)
                upto = page.upto
                await self._call(self._subscriber.received, [event_of(raw, self._events.queue) for raw in page.events], page.missed)
            elif self._events.closed:
                await self._call(self._subscriber.closed)
                self._calls.put(None)
                return

    async def _look(self) -> None:
        with contextlib.suppress(Exception):  # a store in trouble: the events go on
            await self._call(self._subscriber.looked, await self._status())

    async def _call(self, method: Callable[..., None], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        def work() -> None:
            try:
                method(*args)
            except BaseException:  # user code on our thread: whatever it raises must end here
                log.exception("subscriber %s raised in %s", type_name(type(self._subscriber)), method.__name__)
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(finish)

        self._calls.put(work)
        await done

    def _serve(self) -> None:
        while (work := self._calls.get()) is not None:
            work()


async def farewell(feeds: list[asyncio.Task[None]]) -> None:
    """Let the subscribers of a closed queue take in the last events, for a while."""
    if feeds:
        _, late = await asyncio.wait(feeds, timeout=_FAREWELL_S)
        for feed in late:
            feed.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
