"""Several who read one stream of events: tasks that wait and are cancelled, event loops, threads."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from honeydew_ray.errors import QueueNotFound
from honeydew_ray.event_log import EventPage
from honeydew_ray.event_stream import EventStream
from honeydew_ray.events import Event, EventKind
from tests.unit.test_event_stream import Queue, stream


class SlowQueue(Queue):
    """A queue whose first answer to a reader takes until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.let_go = threading.Event(), threading.Event()

    def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
        if incarnation is not None and not self.is_asked.is_set():
            self.is_asked.set()
            assert self.let_go.wait(20)
        return super().events(incarnation, after, limit, patience_s)


async def give_up(reader: EventStream, queue: SlowQueue) -> None:
    """Ask for an event, and be cancelled while the queue is asked."""
    waiting = asyncio.ensure_future(reader.__anext__())
    assert await asyncio.to_thread(queue.is_asked.wait, 20)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_wait_that_is_cancelled_loses_no_event_and_doubles_none() -> None:
    async def read() -> list[int]:
        await give_up(reader, queue)
        again = asyncio.ensure_future(reader.__anext__())
        await asyncio.sleep(0)
        queue.let_go.set()
        return [(await again).number] + [event.number async for event in reader]

    queue = SlowQueue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED)
    reader = stream(queue, history=True)
    assert asyncio.run(read()) == [1, 2, 3]
    assert (list(reader), reader.missed) == ([], 0)


def test_waits_that_are_cancelled_again_and_again_have_the_queue_asked_once() -> None:
    async def read() -> int:
        for _ in range(5):
            await give_up(reader, queue)
        queue.let_go.set()
        return (await reader.__anext__()).number

    queue = SlowQueue()
    reader = stream(queue, history=True)
    assert asyncio.run(read()) == 1
    assert len(queue.asked) == 2  # with the one that began the stream


def test_after_a_wait_that_is_cancelled_the_queue_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closing(SlowQueue):
        def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> EventPage:
            if len(self.asked) == 2:
                reader.close()  # or the thread that should have ended would be waited for in vain
            return super().events(incarnation, after, limit, patience_s)

    async def read() -> None:
        await give_up(reader, queue)
        queue.let_go.set()

    monkeypatch.setattr("honeydew_ray.event_stream._PATIENCE_S", 0.0)
    queue = Closing()
    reader = stream(queue, follow=True)
    asyncio.run(read())
    assert len(queue.asked) == 2


def test_an_event_read_for_a_wait_that_was_cancelled_is_there_for_everybody() -> None:
    async def read() -> list[int]:
        await give_up(reader, queue)
        queue.let_go.set()
        first = next(reader).number
        return [first, (await reader.__anext__()).number] + [event.number for event in reader.read()]

    queue = SlowQueue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED, EventKind.SUSPENDED)
    reader = stream(queue, history=True)
    assert asyncio.run(read()) == [1, 2, 3, 4]


def test_an_error_that_a_cancelled_wait_did_not_hear_is_raised_by_the_next() -> None:
    async def read(reader: EventStream) -> None:
        await give_up(reader, queue)
        queue.gone = True
        queue.let_go.set()

    async def read_again(reader: EventStream) -> list[Event]:
        return [event async for event in reader]

    queue = SlowQueue()
    reader = stream(queue)
    asyncio.run(read(reader))  # and its threads have ended
    queue.gone = False
    with pytest.raises(QueueNotFound):
        asyncio.run(read_again(reader))
    assert asyncio.run(read_again(reader)) == []


def test_an_error_that_nobody_hears_makes_no_noise() -> None:
    async def read(reader: EventStream) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
        await give_up(reader, queue)
        queue.gone = True
        queue.let_go.set()

    noise: list[object] = []
    queue = SlowQueue()
    asyncio.run(read(stream(queue)))
    gc.collect()
    assert len(queue.asked) == 2
    assert noise == []


def test_all_who_wait_at_once_share_the_reading_and_its_error() -> None:
    async def read() -> list[int]:
        waiting = [asyncio.ensure_future(reader.__anext__()) for _ in range(3)]
        assert await asyncio.to_thread(queue.is_asked.wait, 20)
        queue.let_go.set()
        return sorted(event.number for event in await asyncio.gather(*waiting))

    async def fail() -> list[BaseException | Event]:
        return await asyncio.gather(reader.__anext__(), reader.__anext__(), return_exceptions=True)

    queue = SlowQueue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED)
    reader = stream(queue, history=True)
    assert asyncio.run(read()) == [1, 2, 3]
    assert len(queue.asked) == 2
    queue.gone = True
    assert [type(error) for error in asyncio.run(fail())] == [QueueNotFound] * 2


def test_a_loop_that_is_closed_leaves_its_reading_to_the_next() -> None:
    async def read() -> list[int]:
        return [event.number async for event in reader]

    queue = SlowQueue()
    queue.tell(EventKind.SUSPENDED)
    reader = stream(queue, history=True)
    loop, pool = asyncio.new_event_loop(), ThreadPoolExecutor()
    loop.set_default_executor(pool)
    loop.run_until_complete(give_up(reader, queue))
    loop.close()
    queue.let_go.set()
    assert asyncio.run(read()) == [1, 2]
    pool.shutdown()
    assert list(reader) == []


def test_a_stream_that_is_closed_ends_though_a_reading_is_under_way() -> None:
    async def read() -> list[Event]:
        await give_up(reader, queue)
        reader.close()
        try:
            return [event async for event in reader]
        finally:
            queue.let_go.set()

    queue = SlowQueue()
    reader = stream(queue, follow=True)
    assert asyncio.run(read()) == []


def test_threads_that_share_a_stream_share_its_events() -> None:
    queue = SlowQueue()
    queue.tell(EventKind.SUSPENDED, EventKind.RESUMED)
    reader = stream(queue, history=True)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(list[Event], reader)
        assert queue.is_asked.wait(20)
        here = reader.read()
        queue.let_go.set()
        assert sorted(event.number for event in here + other.result(20)) == [1, 2, 3]
