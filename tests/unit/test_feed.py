"""A subscriber in the queue's process: told in order, at its own pace, and unable to hold up the queue."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from honeydew_ray.clock import SystemClock
from honeydew_ray.event_log import EventLog
from honeydew_ray.events import Event, EventKind
from honeydew_ray.feed import Feed, farewell
from honeydew_ray.status import QueueStatus
from honeydew_ray.subscribers.base import Subscriber

STATUS = QueueStatus("q", 1, 2, 3, 4, False, "MemoryStore")


class Listener(Subscriber):
    """Remembers its calls; holds or raises when told to."""

    def __init__(self, status_every_s: float | None = None) -> None:
        self.status_every_s = status_every_s
        self.calls: list[Any] = []
        self.threads: set[int] = set()
        self.hold: threading.Event | None = None
        self.held = threading.Event()
        self.looks, self.receipts = threading.Semaphore(0), threading.Semaphore(0)
        self.fault: BaseException | None = None

    def opened(self, queue: str) -> None:
        self._call("opened", queue)

    def received(self, events: Sequence[Event], missed: int) -> None:
        self._call("received", [event.number for event in events], missed)
        self.receipts.release()
        if self.hold is not None:
            self.held.set()
            assert self.hold.wait(20)
        if self.fault is not None:
            raise self.fault

    def looked(self, status: QueueStatus) -> None:
        self._call("looked", status)
        self.looks.release()

    def closed(self) -> None:
        self._call("closed")

    def heard(self) -> list[int]:
        return [number for call in self.calls if call[0] == "received" for number in call[1]]

    def _call(self, *call: Any) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append(call)


async def status() -> QueueStatus:
    return STATUS


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


async def in_thread(function: Callable[..., object], *args: object) -> None:
    assert await asyncio.to_thread(function, *args)


def test_it_hears_all_in_order_on_one_thread_of_its_own() -> None:
    async def test() -> None:
        log, listener = EventLog("q", SystemClock()), Listener()
        log.opened("one")
        feed = asyncio.ensure_future(Feed(listener, log, status).run())
        for _ in range(3000):
            log.tell(EventKind.RESUMED)
        await asyncio.sleep(0)
        log.tell(EventKind.SUSPENDED)
        log.close()
        await farewell([feed])
        assert listener.calls[0] == ("opened", "q")
        assert listener.heard() == list(range(1, 3003))
        assert listener.calls[-1] == ("closed",)
        assert len(listener.threads) == 1
        assert threading.get_ident() not in listener.threads

    run(test)


def test_one_that_hangs_holds_up_nobody_and_misses_what_was_not_kept() -> None:
    async def test() -> None:
        log, listener = EventLog("q", SystemClock(), kept=10), Listener()
        log.opened("one")
        listener.hold = threading.Event()
        feed = asyncio.ensure_future(Feed(listener, log, status).run())
        await in_thread(listener.held.wait, 20)
        for _ in range(100):
            log.tell(EventKind.RESUMED)  # as fast as ever
        listener.hold.set()
        listener.hold = None
        log.close()
        await farewell([feed])
        assert [call[1:] for call in listener.calls if call[0] == "received"] == [([1], 0), (list(range(92, 102)), 90)]

    run(test)


@pytest.mark.parametrize("fault", [RuntimeError("no"), SystemExit(1)])
def test_one_that_raises_is_logged_and_goes_on(fault: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        log, listener = EventLog("q", SystemClock()), Listener()
        log.opened("one")
        listener.fault = fault
        feed = asyncio.ensure_future(Feed(listener, log, status).run())
        await in_thread(listener.receipts.acquire, True, 20)
        log.tell(EventKind.RESUMED)
        log.close()
        await farewell([feed])
        assert listener.heard() == [1, 2]
        assert listener.calls[-1] == ("closed",)

    caplog.set_level(logging.ERROR, "honeydew_ray")
    run(test)
    assert "Listener raised in received" in caplog.text


def test_it_looks_at_the_queue_as_often_as_it_wants() -> None:
    async def test() -> None:
        log, listener = EventLog("q", SystemClock()), Listener(status_every_s=0.01)
        log.opened("one")
        feed = asyncio.ensure_future(Feed(listener, log, status).run())
        for _ in range(3):
            await in_thread(listener.looks.acquire, True, 20)
        log.close()
        await farewell([feed])
        assert ("looked", STATUS) in listener.calls

    run(test)


def test_a_queue_in_trouble_cannot_be_looked_at_and_its_events_go_on() -> None:
    async def trouble() -> QueueStatus:
        raise OSError("disk full")

    async def test() -> None:
        log, listener = EventLog("q", SystemClock()), Listener(status_every_s=0.01)
        log.opened("one")
        feed = asyncio.ensure_future(Feed(listener, log, trouble).run())
        log.tell(EventKind.RESUMED)
        await in_thread(listener.receipts.acquire, True, 20)
        log.close()
        await farewell([feed])
        assert not [call for call in listener.calls if call[0] == "looked"]

    run(test)


def test_a_stopped_queue_does_not_wait_for_one_that_hangs_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("honeydew_ray.feed._FAREWELL_S", 0.05)

    async def test() -> None:
        log, listener = EventLog("q", SystemClock()), Listener()
        log.opened("one")
        hold = listener.hold = threading.Event()
        feed = asyncio.ensure_future(Feed(listener, log, status).run())
        await in_thread(listener.held.wait, 20)
        log.close()
        await farewell([feed])
        await asyncio.wait([feed])
        assert feed.cancelled()
        hold.set()

    run(test)
