"""A queue's events, read from any process of the cluster."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection
from typing import Protocol

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
    """

    def __init__(self, source: Source, *, history: bool, follow: bool, kinds: Collection[EventKind]) -> None:
        self.missed = 0
        self._source = source
        self._follow = follow
        self._kinds = frozenset(kinds)
        self._ready: deque[Event] = deque()
        self._closed = False
        page = source.events(None, 0, 1, 0.0)
        oldest = page.events[0][0] if page.events else page.last + 1
        self._incarnation, self._upto = page.incarnation, oldest - 1 if history else page.last

    def __repr__(self) -> str:
        return f"<EventStream of queue {self._source.queue!r} at {self._upto}>"

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> Event:
        while not self._ready and not self._closed:
            self._ready.extend(self.read(_PATIENCE_S if self._follow else 0.0))
            if not self._follow and not self._ready:
                break
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        event = self._ready.popleft() if self._ready else await asyncio.to_thread(next, self, None)
        if event is None:
            raise StopAsyncIteration
        return event

    def read(self, timeout: float = 0.0) -> list[Event]:
        """The next events, at most 2,000; waits up to ``timeout`` seconds for the first, then perhaps none.

        Raises `QueueNotFound` once the queue is gone, having returned all that came before if the reader kept up.
        """
        deadline = time.monotonic() + timeout
        while not self._closed:
            patience_s = min(max(deadline - time.monotonic(), 0.0), _PATIENCE_S)
            page = self._source.events(self._incarnation, self._upto, PAGE, patience_s)
            self._incarnation, self._upto = page.incarnation, page.upto
            self.missed += page.missed
            found = [event_of(raw, self._source.queue) for raw in page.events if not self._kinds or raw[2] in self._kinds]
            if found or (len(page.events) < PAGE and time.monotonic() >= deadline):
                return found
        return []

    def close(self) -> None:
        """Read no more: iteration ends, if need be after the call to the queue that is under way, at most 5 seconds."""
        self._closed = True
