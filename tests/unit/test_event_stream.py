"""Reading a queue's events from outside."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest

from honeydew_ray.errors import QueueNotFound
from honeydew_ray.event_log import EventLog, EventPage
from honeydew_ray.event_stream import EventStream
from honeydew_ray.events import EventKind
from honeydew_ray.testing.virtual_time import EPOCH


class StillClock:
    def now(self) -> float:
        return EPOCH


class Queue:
    """A log read as over the wire: nothing is waited for."""

    queue = "q"

    def __init__(self, kept: int = 10_000) -> None:
        self.log = EventLog("q", StillClock(), kept)
        self.log.opened("one")
        self.asked: list[float] = []
        self.gone = False

    def tell(self, *kinds: EventKind) -> None:
        for kind in kinds:
            self.log.tell(kind)

    def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
        self.asked.append(patience_s)
        if self.gone:
            raise QueueNotFound("queue 'q' is gone")
        return self.log.read(incarnation, after, limit)


def stream(queue: Queue, *, history: bool = False, follow: bool = False, kinds: tuple[EventKind, ...] = ()) -> EventStream:
    return EventStream(queue, history=history, follow=follow, kinds=kinds)


def test_from_now_on_or_from_the_oldest_kept() -> None:
    queue = Queue()
    queue.tell(EventKind.SUSPENDED)
    now, all_ = stream(queue), stream(queue, history=True)
    queue.tell(EventKind.RESUMED)
    assert [event.kind for event in now] == [EventKind.RESUMED]
    assert [event.kind for event in all_] == [EventKind.QUEUE_STARTED, EventKind.SUSPENDED, EventKind.RESUMED]
    assert list(now) == []
    queue.tell(EventKind.SUSPENDED)
    assert [event.number for event in now] == [4]  # an ended iteration can be taken up again


def test_what_is_not_kept_from_the_start_is_not_missed_but_what_goes_later_is() -> None:
    queue = Queue(kept=10)
    queue.tell(*[EventKind.RESUMED] * 50)
    reader = stream(queue, history=True)
    assert len(list(reader)) == 10
    assert reader.missed == 0
    queue.tell(*[EventKind.RESUMED] * 50)
    assert len(reader.read()) == 10
    assert reader.missed == 40


def test_only_the_kinds_that_are_asked_for() -> None:
    queue = Queue()
    queue.tell(*[EventKind.SUSPENDED, EventKind.RESUMED] * 3000)
    queue.tell(EventKind.NODE_LOST)
    assert [event.number for event in stream(queue, history=True, kinds=(EventKind.NODE_LOST,))] == [6002]


def test_a_new_process_of_the_queue_is_read_from_its_start() -> None:
    queue = Queue()
    queue.tell(*[EventKind.RESUMED] * 5)
    reader = stream(queue)
    queue.log = EventLog("q", StillClock())
    queue.log.opened("two")
    queue.tell(EventKind.SUSPENDED)
    assert [(event.number, event.kind) for event in reader] == [(1, EventKind.QUEUE_STARTED), (2, EventKind.SUSPENDED)]


def test_reading_waits_no_longer_than_it_is_told_to() -> None:
    queue = Queue()
    reader = stream(queue)
    assert reader.read() == []
    assert reader.read(timeout=0.01) == []
    assert max(queue.asked) <= 0.01


def test_a_stream_that_is_closed_ends() -> None:
    queue = Queue()
    reader = stream(queue, follow=True)
    ended = threading.Event()

    def read() -> None:
        list(reader)
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    reader.close()
    assert ended.wait(20)
    thread.join()
    assert reader.read(5.0) == []
    assert "of queue 'q'" in repr(reader)


def test_a_queue_that_is_gone_raises() -> None:
    queue = Queue()
    reader = stream(queue, follow=True)
    queue.tell(EventKind.SUSPENDED)
    assert next(reader).kind is EventKind.SUSPENDED
    queue.gone = True
    with pytest.raises(QueueNotFound):
        next(reader)


def test_in_async_code() -> None:
    async def read() -> list[int]:
        return [event.number async for event in stream(queue, history=True)]

    queue = Queue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED)
    assert asyncio.run(read()) == [1, 2, 3]


def test_reading_goes_on_where_iterating_left_off() -> None:
    queue = Queue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED)
    reader = stream(queue, history=True)
    assert next(reader).number == 1
    assert [event.number for event in reader.read()] == [2, 3]
    queue.tell(EventKind.SUSPENDED)
    assert [event.number for event in reader.read(timeout=float("inf"))] == [4]


def test_a_stream_that_is_pickled_goes_on_where_it_was() -> None:
    queue = Queue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED)
    reader = stream(queue, history=True)
    assert next(reader).number == 1
    assert [event.number for event in pickle.loads(pickle.dumps(reader))] == [2, 3]
