"""The long poll for the ends of jobs, against a queue that answers what, and when, the test wants."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from honeydew_ray.errors import QueueLost
from honeydew_ray.job import JobSnapshot, JobState
from honeydew_ray.protocol import Collected, QueueInfo
from honeydew_ray.reply_poll import Away, ReplyPoll
from honeydew_ray.waiters import Waiter, Waiters

LONG_S = 10.0


class Queue:
    """Answers calls in the order in which the test gives the answers; an exception is raised."""

    def __init__(self) -> None:
        self.asked: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()

    def __call__(self, *call: Any) -> Any:
        self.asked.put(call)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def answer(self, *answers: Any) -> None:
        for answer in answers:
            self._answers.put(answer)

    def hears(self, method: str) -> tuple[Any, ...]:
        call = self.asked.get(timeout=LONG_S)
        assert call[0] == method
        return call


Poll = Callable[[QueueInfo], ReplyPoll]


@pytest.fixture
def asked() -> Queue:
    return Queue()


@pytest.fixture
def waiters() -> Waiters:
    return Waiters()


@pytest.fixture
def start(asked: Queue, waiters: Waiters) -> Iterator[Poll]:
    polls: list[ReplyPoll] = []

    def begin(info: QueueInfo) -> ReplyPoll:
        polls.append(ReplyPoll("photos", "me", info, waiters, asked))
        assert polls[-1].begin()
        return polls[-1]

    yield begin
    for poll in polls:
        poll.stop()
        asked.answer(ConnectionError())
        poll.join(LONG_S)


MEMORY, DURABLE = QueueInfo("first", durable=False), QueueInfo("first", durable=True)


def nothing(incarnation: str = "first", closed: bool = False, forgotten: bool = False) -> Collected:
    return Collected(incarnation, [], closed, forgotten)


def ends(*job_ids: str) -> Collected:
    return Collected("first", [(number, JobSnapshot(job_id, JobState.DONE, "work", 1, 0.0, 0.0, 0.0, None, None, None))
                               for number, job_id in enumerate(job_ids, 1)], closed=False, forgotten=False)


def taken(waiters: Waiters, job_id: str, by: str | None) -> Waiter:
    waiter = waiters.of(job_id)
    waiter.incarnation = by
    return waiter


def test_ends_are_acknowledged_with_the_next_call(start: Poll, asked: Queue, waiters: Waiters) -> None:
    waiter = taken(waiters, "b", "first")
    start(MEMORY)
    assert asked.hears("collect")[3] == 0
    asked.answer(ends("a", "b"))
    assert waiters.wait(waiter, LONG_S)
    assert waiter.end is not None
    assert asked.hears("collect")[3] == 2


def test_a_callback_that_raises_does_not_end_the_poll(start: Poll, asked: Queue, waiters: Waiters) -> None:
    first, second = taken(waiters, "first", "first"), taken(waiters, "second", "first")

    def fail() -> None:
        raise RuntimeError("on purpose")

    waiters.when_settled(first, fail)
    start(MEMORY)
    asked.answer(ends("first"), ends("second"))
    assert waiters.wait(second, LONG_S)
    assert second.end is not None


def test_a_fault_of_the_poll_leaves_nobody_waiting(start: Poll, asked: Queue, waiters: Waiters) -> None:
    waiter = taken(waiters, "job", "first")
    start(MEMORY)
    asked.answer("no answer of a queue")
    assert waiters.wait(waiter, LONG_S)
    assert isinstance(waiter.lost, QueueLost)


def test_a_queue_that_is_away_is_asked_again(start: Poll, asked: Queue, waiters: Waiters) -> None:
    waiter = taken(waiters, "job", "first")
    start(MEMORY)
    asked.answer(Away(), ends("job"))
    assert waiters.wait(waiter, LONG_S)
    assert waiter.end is not None


def test_a_job_on_its_way_when_its_end_was_asked_for_is_not_given_up(start: Poll, asked: Queue, waiters: Waiters) -> None:
    waiter, other = taken(waiters, "job", None), taken(waiters, "other", "first")
    start(MEMORY)
    asked.hears("collect")
    asked.answer(nothing(forgotten=True))
    asked.hears("expect")
    waiter.incarnation = "first"  # the queue takes the job after it was asked, and before its answer is here
    asked.answer(["job", "other"])
    assert waiters.wait(other, LONG_S)
    assert isinstance(other.lost, QueueLost)
    assert not waiter.settled


@pytest.mark.parametrize(("taken_by", "lost"), [("first", True), ("second", False)])
def test_a_memory_queues_job_that_was_taken_by_a_process_that_is_no_more_is_lost_though_that_is_heard_late(
        start: Poll, asked: Queue, waiters: Waiters, taken_by: str, lost: bool) -> None:
    poll = start(QueueInfo("second", durable=False))
    asked.hears("collect")
    waiter = waiters.of("job")
    poll.taken([waiter], taken_by)
    asked.answer(Away(), nothing("second"), nothing("second"))
    for _ in range(3):
        asked.hears("collect")
    assert isinstance(waiter.lost, QueueLost) is lost


def test_a_memory_queue_that_lost_its_process_has_lost_what_that_took(start: Poll, asked: Queue, waiters: Waiters) -> None:
    before, on_its_way, after = taken(waiters, "a", "first"), taken(waiters, "b", None), taken(waiters, "c", "second")
    start(MEMORY)
    asked.answer(nothing("second"))
    assert waiters.wait(before, LONG_S)
    assert isinstance(before.lost, QueueLost)
    asked.hears("collect")
    assert asked.hears("collect")[2:4] == ("second", 0)
    assert not on_its_way.settled and not after.settled


def test_a_durable_queue_that_lost_its_process_is_asked_again(start: Poll, asked: Queue, waiters: Waiters) -> None:
    known, unknown = taken(waiters, "known", "first"), taken(waiters, "unknown", "first")
    start(DURABLE)
    asked.answer(nothing("second"), ["unknown"])
    assert waiters.wait(unknown, LONG_S)
    assert isinstance(unknown.lost, QueueLost)
    assert not known.settled


def test_a_queue_is_asked_again_about_a_thousand_jobs_a_call(start: Poll, asked: Queue, waiters: Waiters) -> None:
    held = {f"job {number}": taken(waiters, f"job {number}", "first") for number in range(2001)}
    start(DURABLE)
    asked.answer(nothing("second"), ["job 1"], [], ["job 2000"])
    calls = [asked.hears(method)[1] for method in ("collect", "expect", "expect", "expect", "collect")][1:4]
    assert [len(ids) for ids in calls] == [1000, 1000, 1]
    assert sorted(job_id for ids in calls for job_id in ids) == sorted(held)
    assert sorted(job_id for job_id, waiter in held.items() if waiter.settled) == ["job 1", "job 2000"]


def test_if_a_part_of_its_jobs_could_not_be_asked_about_all_are_asked_about_again(start: Poll, asked: Queue, waiters: Waiters) -> None:
    held = [taken(waiters, f"job {number}", "first") for number in range(1001)]
    start(DURABLE)
    asked.answer(nothing("second"), ["job 1"], Away())
    for method in ("collect", "expect", "expect", "collect"):
        asked.hears(method)
    assert not any(waiter.settled for waiter in held), "what is not known for all is said of none"
    asked.answer(nothing("second"), ["job 1"], [])
    assert [len(asked.hears("expect")[1]) for _ in range(2)] == [1000, 1]
    assert asked.hears("collect")
    assert [waiter for waiter in held if waiter.settled] == [held[1]]


@pytest.mark.parametrize(("last", "text"), [(nothing(closed=True), "was stopped before"), (ConnectionError(), "is gone")])
def test_who_waits_for_a_queue_that_ended_is_told_and_who_comes_later_begins_another_poll(
        start: Poll, asked: Queue, waiters: Waiters, last: Any, text: str) -> None:
    waiter = taken(waiters, "job", "first")
    poll = start(DURABLE)
    begun: list[bool] = []
    waiters.when_settled(waiter, lambda: begun.append(poll.begin()))
    asked.answer(last)
    assert waiters.wait(waiter, LONG_S)
    assert text in str(waiter.lost)
    asked.hears("collect")
    asked.hears("collect")
    assert begun == [True]


def test_a_callback_may_stop_the_poll(start: Poll, asked: Queue, waiters: Waiters) -> None:
    waiter = taken(waiters, "job", "first")
    poll = start(MEMORY)
    stopped = threading.Event()

    def stop() -> None:
        poll.join(LONG_S)
        assert poll.stop() and not poll.stop() and not poll.begin()
        stopped.set()

    waiters.when_settled(waiter, stop)
    asked.answer(ends("job"))
    assert stopped.wait(LONG_S)
