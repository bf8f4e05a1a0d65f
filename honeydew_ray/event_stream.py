"""A queue's events, read from any process of the cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Any, Protocol

from honeydew_ray.event_log import PAGE, EventPage, event_of
from honeydew_ray.events import Event, EventKind

_PATIENCE_S = 5.0


class Source(Protocol):
    """Where the events come from: a client of a queue."""

    @property
    def queue(self) -> str:
        """The queue's name."""
        ...

    def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
        """What happened after a number of an incarnation; waits up to ``patience_s`` seconds for the first."""
        ...


class EventStream:
    """The events of a queue, in order: see `Queue.events`. An iterator, and an async iterator.

    ``missed`` counts events that the queue did not keep until this reader came for them; a reader
    that keeps up misses none. If the queue's process is restarted, the stream goes on with the new one,
    whose first event is ``queue_started``; what happened between the last reading and the crash is lost.

    Threads and tasks that share a stream share its events: each goes to one of them. A wait that is
    cancelled, as by ``asyncio.wait_for(anext(stream), 1)``, takes none.
    """

    def __init__(self, source: Source, *, history: bool, follow: bool, kinds: Collection[EventKind]) -> None:
        self.missed = 0
        self._source = source
        self._follow = follow
        self._kinds = frozenset(kinds)
        self._ready: deque[Event] = deque()  # read and not delivered; read on only when it is empty
        self._closed = False
        self._lock = threading.RLock()  # held to read on; an inline queue runs jobs meanwhile, which may read here, too
        self._reading: asyncio.Future[bool] | None = None  # for async code, in a thread: under way, or ended with nobody waiting
        page = source.events(None, 0, 1, 0.0)
        oldest = page.events[0][0] if page.events else page.last + 1
        self._incarnation, self._upto = page.incarnation, oldest - 1 if history else page.last

    def __repr__(self) -> str:
        return f"<EventStream of queue {self._source.queue!r} at {self._upto}>"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_reading")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.RLock(), _reading=None)

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> Event:
        while (event := self._next_ready()) is None:
            if self._closed or not self._read_on():
                raise StopIteration
        return event

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while (event := self._next_ready()) is None:
            if self._closed or not await self._read_aside():
                raise StopAsyncIteration
        return event

    def read(self, timeout: float = 0.0) -> list[Event]:
        """The next events, at most 2,000; waits up to ``timeout`` seconds for the first, then perhaps none.

        Raises `QueueNotFound` once the queue is gone, having returned all that came before if the reader kept up.
        """
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
            return []  # another thread waits for the next event, too
        try:
            if not self._ready:
                self._ready.extend(self._found(deadline))
            return list(iter(self._next_ready, None))
        finally:
            self._lock.release()

    def close(self) -> None:
        """Read no more: iteration ends, if need be after the call to the queue that is under way, at most 5 seconds."""
        self._closed = True

    def _next_ready(self) -> Event | None:
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def _read_on(self) -> bool:
        """Have the next events ready, or none after 5 seconds; False at the end."""
        with self._lock:
            if self._ready:
                return True
            found = self._found(time.monotonic() + (_PATIENCE_S if self._follow else 0.0))
            self._ready.extend(found)
            return bool(found) or (self._follow and not self._closed)

    async def _read_aside(self) -> bool:
        """`_read_on` in a thread: one for all who wait, and if they are cancelled, for the next who asks."""
        loop = asyncio.get_running_loop()
        reading, self._reading = self._reading, None
        if reading is not None and reading.done():
            reading.result()  # raises what nobody was there to be told of
            reading = None
        if reading is None or reading.get_loop() is not loop:
            reading = loop.run_in_executor(None, self._read_on)
            reading.add_done_callback(_heard)
        self._reading = reading
        await asyncio.wait([reading])  # which, if cancelled, leaves the reading as it is
        if self._reading is reading:
            self._reading = None
        return reading.result()

    def _found(self, deadline: float) -> list[Event]:
        while not self._closed:
            patience_s = min(max(deadline - time.monotonic(), 0.0), _PATIENCE_S)
            page = self._source.events(self._incarnation, self._upto, PAGE, patience_s)
            self._incarnation, self._upto = page.incarnation, page.upto
            self.missed += page.missed
            found = [event_of(raw, self._source.queue) for raw in page.events if not self._kinds or raw[2] in self._kinds]
            if found or (len(page.events) < PAGE and time.monotonic() >= deadline):
                return found
        return []


def _heard(reading: asyncio.Future[bool]) -> None:
    """Keep asyncio from logging the error of a reading that nobody waits for any more."""
    if not reading.cancelled():
        reading.exception()
