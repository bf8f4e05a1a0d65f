"""Leases of several jobs, and several jobs at once, on real workers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import honeydew_ray as honeydew
from honeydew_ray.job import JobState
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


def _mark(path: str, number: int) -> int:
    """Note a number in a file; how often it is there."""
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    return Path(path).read_text().splitlines().count(str(number))


class Quick:
    """Jobs that take no time, and some that go wrong."""

    def double(self, number: int) -> int:
        return 2 * number

    def mark(self, path: str, index: int, killer: int) -> int:
        """Note the start; the killer ends its process the first time."""
        if _mark(path, index) == 1 and index == killer:
            os.kill(os.getpid(), signal.SIGKILL)
        return index

    def mark_or_wait(self, path: str, index: int, waiter: int, waiting: Signal, may_end: Signal) -> int:
        if index == waiter:
            waiting.send()
            may_end.wait()
        return self.mark(path, index, -1)


@pytest.fixture
def quick(new_queue: Start) -> honeydew.Queue:
    """A queue whose one worker takes leases, and is known to be quick."""
    queue = new_queue(failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Quick, num=1, prefetch="auto")
    return queue


def test_many_short_jobs_have_their_results_in_order(quick: honeydew.Queue) -> None:
    assert [job.result(timeout=60) for job in quick.submit_many("double", range(3000))] == [2 * number for number in range(3000)]
    status = quick.status()
    assert (status.pending, status.in_progress) == (0, 0)


JOBS = 8


@pytest.mark.parametrize("killer", [0, 3, 7])
def test_a_killer_in_a_lease_meets_the_failure_mode_alone(quick: honeydew.Queue, tmp_path: Path, killer: int) -> None:
    for number in range(10):  # where a busy machine makes the jobs slow, their leases are short
        before, behind = _lease_with_killer(quick, tmp_path / str(number), killer)
        if (before or killer == 0) and (behind or killer == JOBS - 1):
            return
    pytest.fail("the killer never had company in its lease")


def _lease_with_killer(queue: honeydew.Queue, marks: Path, killer: int) -> tuple[list[int], list[int]]:
    """Run jobs, one of which ends its worker, and check what became of each; those that its lease had before and behind it."""
    [job.result(timeout=60) for job in queue.submit_many("mark", [f"{marks}-before"] * 30, range(30), [-1] * 30)]
    queue.suspend()
    jobs = queue.submit_many("mark", [str(marks)] * JOBS, range(JOBS), [killer] * JOBS)
    queue.resume()
    assert [job.result(timeout=60) for job in jobs] == list(range(JOBS))
    at = {job.id: index for index, job in enumerate(jobs)}
    events = queue.events(history=True, follow=False, kinds=["started", "failed", "redelivered", "recalled"])
    told = [(event.kind, at[event.job_id]) for event in events if event.job_id in at]
    assert [index for kind, index in told if kind == "failed"] == [killer]
    assert jobs[killer].attempts == 2
    started = [place for place, what in enumerate(told) if what == ("started", killer)]
    issued = [place for place in started if place < told.index(("failed", killer))][-1]  # those before were recalled
    before = sorted(index for kind, index in told if kind == "redelivered")
    behind = sorted(index for kind, index in told[issued:] if kind == "recalled")
    assert [*before, killer, *behind] == list(range(killer - len(before), killer + len(behind) + 1)), "a lease has its jobs in order"
    starts = sorted(int(line) for line in marks.read_text().splitlines())
    assert starts == sorted([*range(JOBS), *before, killer]), "those before it ran again, those behind it once"
    return before, behind


def test_jobs_behind_a_long_one_go_to_an_idle_worker(quick: honeydew.Queue, tmp_path: Path, new_signal: NewSignal) -> None:
    marks, waiting, may_end = str(tmp_path / "marks"), new_signal(), new_signal()
    common = ([marks] * 30, range(30), [-1] * 30, [waiting] * 30, [may_end] * 30)
    [job.result(timeout=60) for job in quick.submit_many("mark_or_wait", *common)]
    honeydew.start_workers(quick.name, Quick, num=1, group="second", prefetch="auto")
    quick.wait_for_workers(2)
    quick.suspend()
    jobs = quick.submit_many("mark_or_wait", [marks] * 6, range(6), [1] * 6, [waiting] * 6, [may_end] * 6)
    quick.resume()
    waiting.wait()
    assert [job.result(timeout=60) for index, job in enumerate(jobs) if index != 1] == [0, 2, 3, 4, 5]
    assert jobs[1].state is JobState.IN_PROGRESS
    may_end.send()
    assert jobs[1].result(timeout=60) == 1
    assert [job.attempts for job in jobs] == [1] * 6


class Juggler:
    """Jobs that wait for one another, which they can only if they run at once."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()  # the state is made where the jobs run
        self.thread = threading.get_ident()
        self.met: dict[str, asyncio.Event] = {}

    async def meet(self, name: str, number: int) -> bool:
        event = self.met.setdefault(name, asyncio.Event())
        if number == 2:
            event.set()
        await event.wait()
        honeydew.progress(f"met {name}")
        return asyncio.get_running_loop() is self.loop and threading.get_ident() == self.thread

    async def forever(self, started: Signal) -> None:
        await asyncio.to_thread(started.send)
        await asyncio.Event().wait()

    async def report(self, text: str) -> None:
        honeydew.progress(text)
        await asyncio.to_thread(honeydew.progress, f"{text}, from a thread")
        await asyncio.Event().wait()

    async def hold_once(self, path: str, number: int) -> int:
        """Note the start; hold on to the end of the worker at the first."""
        if _mark(path, number) == 1:
            await asyncio.Event().wait()
        return number

    async def fail(self) -> None:
        raise ValueError("as asked")

    async def leave(self) -> None:
        sys.exit(3)

    def pid(self) -> int:
        return os.getpid()

    async def who(self) -> bool:
        return honeydew.current_worker() is self


@pytest.fixture
def juggler(new_queue: Start) -> honeydew.Queue:
    queue = new_queue()
    queue.start_workers(Juggler, num=1, concurrency=4)
    return queue


def test_async_jobs_run_at_once_on_the_loop_of_their_state(juggler: honeydew.Queue) -> None:
    first = [juggler.submit("meet", name, 1) for name in "abc"]
    assert all(juggler.submit("meet", name, 2).result(timeout=60) for name in "abc")
    assert all(job.result(timeout=60) for job in first)
    assert juggler.submit("who").result(timeout=60)


def test_async_jobs_are_stopped_one_by_one(juggler: honeydew.Queue, new_signal: NewSignal) -> None:
    started = new_signal()
    pid = juggler.submit("pid").result(timeout=60)
    other = juggler.submit("meet", "x", 1)
    late = juggler.options(timeout_s=2).submit("forever", started)
    started.wait()
    with pytest.raises(honeydew.JobAbandoned) as failed:
        late.result(timeout=60)
    assert failed.value.kind == "timeout"
    started_again = juggler.submit("forever", started)
    started.wait()
    assert started_again.cancel(running=True) is honeydew.CancelOutcome.CANCELLED
    with pytest.raises(honeydew.JobAbandoned, match="as asked"):
        juggler.submit("fail").result(timeout=60)
    assert juggler.submit("meet", "x", 2).result(timeout=60)
    assert other.result(timeout=60)
    assert juggler.submit("pid").result(timeout=60) == pid, "the worker outlived all of it"


def test_an_async_job_that_exits_fails_by_itself(juggler: honeydew.Queue) -> None:
    pid, other = juggler.submit("pid").result(timeout=60), juggler.submit("meet", "x", 1)
    with pytest.raises(honeydew.JobAbandoned) as caught:
        juggler.submit("leave").result(timeout=60)
    assert caught.value.kind == "exit"
    assert juggler.submit("meet", "x", 2).result(timeout=60)
    assert other.result(timeout=60)
    assert juggler.submit("pid").result(timeout=60) == pid


def test_jobs_at_once_publish_each_its_own_progress(juggler: honeydew.Queue) -> None:
    jobs = [juggler.submit("report", text) for text in ("one", "two")]
    while [job.progress for job in jobs] != ["one, from a thread", "two, from a thread"]:
        time.sleep(0.02)
    for job in jobs:
        assert job.cancel(running=True) is honeydew.CancelOutcome.CANCELLED


def test_several_in_hand_when_a_worker_is_killed_all_run_again(juggler: honeydew.Queue, tmp_path: Path) -> None:
    pid = juggler.submit("pid").result(timeout=60)
    marks = tmp_path / "marks"
    marks.touch()
    jobs = juggler.submit_many("hold_once", [str(marks)] * 3, range(3))
    while len(marks.read_text().splitlines()) < 3:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert [job.result(timeout=60) for job in jobs] == [0, 1, 2]
    assert [(job.attempts, job.last_error.class_name) for job in jobs if job.last_error is not None] == [(2, "WorkerDied")] * 3


def test_an_async_method_of_a_worker_that_runs_one_job_at_a_time(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Juggler, num=1)
    assert queue.submit("meet", "x", 2).result(timeout=60)
    assert queue.submit("who").result(timeout=60)
