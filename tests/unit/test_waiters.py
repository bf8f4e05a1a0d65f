"""Those who wait for jobs, in several threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from honeydew_ray.errors import QueueLost
from honeydew_ray.job import JobSnapshot, JobState
from honeydew_ray.waiters import Waiter, Waiters

LOST = QueueLost("it is gone")


def done(job_id: str) -> JobSnapshot:
    return JobSnapshot(job_id, JobState.DONE, "work", 1, 0.0, 0.0, 0.0, None, None, None)


class Interrupted(str):
    """An id that lets another thread ask for the same job when it is about to be stored, for as long as that may take."""

    hashed = 0
    found: list[Waiter]
    waiters: Waiters

    def __hash__(self) -> int:
        self.hashed += 1
        if self.hashed == 2:
            self.other = threading.Thread(target=lambda: self.found.append(self.waiters.of(str(self))))
            self.other.start()
            self.other.join(0.2)
        return super().__hash__()


def test_two_threads_that_ask_for_one_job_at_once_share_a_waiter() -> None:
    waiters, job_id = Waiters(), Interrupted("job")
    job_id.found, job_id.waiters = [], waiters
    mine = waiters.of(job_id)
    job_id.other.join()
    waiters.ended([done("job")])
    assert job_id.found == [mine]
    assert mine.settled


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_jobs_may_come_while_the_open_ones_are_looked_at(eager_threads: None) -> None:
    waiters, over = Waiters(), threading.Event()
    held = [waiters.of(str(number)) for number in range(5000)]

    def come() -> None:
        number = 0
        while not over.is_set():
            number += 1
            waiters.of(f"new {number}")  # nobody holds it, so it goes at once

    coming = threading.Thread(target=come)
    coming.start()
    try:
        for _ in range(20):
            assert len(waiters.open()) >= len(held)
    finally:
        over.set()
        coming.join()


def test_a_callback_that_raises_keeps_nobody_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    waiters = Waiters()
    first, second = waiters.of("first"), waiters.of("second")
    heard: list[str] = []

    def fail() -> None:
        raise SystemExit("on purpose")

    waiters.when_settled(first, fail)
    waiters.when_settled(second, lambda: heard.append("second"))
    waiters.ended([done("first"), done("second")])
    assert heard == ["second"]
    assert "on purpose" in caplog.text
    caplog.clear()
    waiters.when_settled(first, fail)  # it is settled already: called back at once
    assert "on purpose" in caplog.text


def test_a_waiter_is_settled_once() -> None:
    waiters = Waiters()
    waiter = waiters.of("job")
    told: list[bool] = []
    waiters.when_settled(waiter, lambda: told.append(True))
    waiters.lose(LOST)
    waiters.ended([done("job")])
    waiters.lose(QueueLost("again"))
    assert (waiter.lost, waiter.end, told) == (LOST, None, [True])
    assert waiters.open() == []
    waiters.when_settled(waiter, lambda: told.append(False))
    assert told == [True, False]


def test_a_job_that_is_back_in_line_is_waited_for_anew() -> None:
    waiters = Waiters()
    waiter = waiters.of("job")
    waiters.ended([done("job")])
    assert waiters.reopen("job")
    assert not waiters.wait(waiter, 0.0)
    assert not waiters.reopen("another")


def test_who_is_not_waited_for_any_more_is_not_kept() -> None:
    waiters = Waiters()
    waiters.of("job")
    assert waiters.find("job") is None


def test_whoever_waits_for_a_job_that_was_lost_and_is_back_has_a_waiter_of_their_own() -> None:
    waiters = Waiters()
    lost = waiters.of("job")
    waiters.lose(QueueLost("its queue died"))
    again = waiters.of("job")
    assert waiters.of("job") is again is not lost
    waiters.ended([done("job")])
    assert again.end is not None
    assert lost.end is None
