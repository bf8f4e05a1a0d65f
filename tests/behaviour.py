"""What holds inline and on Ray alike: one suite, run in both places."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import honeydew_ray as honeydew
from honeydew_ray import CancelOutcome, JobState, WorkerState

Start = Callable[..., honeydew.Queue]


class Clerk:
    """A worker of the suite: counts its jobs, and meets with accidents when told to."""

    def __init__(self, greeting: str = "Hello", fail_until: str | None = None) -> None:
        if fail_until is not None and not Path(fail_until).exists():
            Path(fail_until).touch()
            raise RuntimeError("not yet")
        self.greeting = greeting
        self.count = 0

    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"{self.greeting}, {name}{mark}"

    def next(self, *_: Any) -> int:
        self.count += 1
        return self.count

    def stumble(self, how: str) -> None:
        match how.split():
            case ["raise"]:
                raise KeyError("stumbled")
            case ["sys.exit"]:
                sys.exit(4)
            case ["exit", status]:
                os._exit(int(status))
            case ["signal", number]:
                os.kill(os.getpid(), int(number))
                threading.Event().wait(20)
            case _:
                raise AssertionError(how)

    def stumble_without(self, mark: str) -> str:
        if not Path(mark).exists():
            raise FileNotFoundError(mark)
        return "found"

    def append(self, items: list[int]) -> list[int]:
        items.append(1)
        return items

    def unpicklable(self) -> Any:
        return threading.Lock()

    def double(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return array * 2

    def slow(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    def report(self, *values: Any) -> None:
        for value in values:
            honeydew.progress(value)
            time.sleep(0.6)  # on Ray progress is sent ten times a second, and the job's end may overtake it


class AsyncClerk:
    """A worker whose methods are coroutines."""

    async def greet(self, name: str) -> str:
        await asyncio.sleep(0)
        return f"Hello, {name}"


class Told(honeydew.SuccessMode):
    """Writes down what it is told."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def succeeded(self, job: honeydew.JobRecord) -> None:
        with self._path.open("a") as file:
            file.write(f"{job.method}={job.value()}\n")


def count_of_worker() -> int:
    clerk: Clerk = honeydew.current_worker()
    return clerk.next()


def kinds(queue: honeydew.Queue, job: honeydew.Job[Any]) -> list[str]:
    return [str(event.kind) for event in queue.events(history=True, follow=False) if event.job_id == job.id]


class Behaviour:
    """Subclasses give the fixtures: ``start`` starts a queue under a name of its own; ``clerks`` is one with a worker and a retry."""

    @pytest.fixture
    def start(self) -> Start:
        raise NotImplementedError

    @pytest.fixture
    def clerks(self) -> honeydew.Queue:
        raise NotImplementedError

    def test_a_task_in_each_of_its_forms(self, clerks: honeydew.Queue) -> None:
        assert clerks.submit("greet", "Ada", mark="?").result(timeout=60) == "Hello, Ada?"
        assert clerks.submit(Clerk.greet, "Ada").result(timeout=60) == "Hello, Ada!"
        assert clerks.submit(math.sqrt, 49).result(timeout=60) == 7
        assert clerks.submit(count_of_worker).result(timeout=60) >= 1

    def test_arguments_are_copies(self, clerks: honeydew.Queue) -> None:
        mine: list[int] = []
        assert clerks.submit("append", mine).result(timeout=60) == [1]
        assert mine == []

    def test_results_come_in_order(self, clerks: honeydew.Queue) -> None:
        assert list(clerks.map("greet", ["a", "b", "c"])) == ["Hello, a!", "Hello, b!", "Hello, c!"]
        jobs = clerks.submit_many("greet", [str(number) for number in range(100)])
        assert [job.result(timeout=60) for job in jobs] == [f"Hello, {number}!" for number in range(100)]
        assert all(job.done() for job in jobs)

    @pytest.mark.parametrize(("how", "kind", "exit_code", "number"), [
        ("raise", "exception", None, None), ("sys.exit", "exit", 4, None), ("exit 3", "exit", 3, None), ("exit 0", "exit", 0, None),
        ("signal 9", "signal", None, signal.SIGKILL),
    ])
    def test_a_job_that_fails(self, clerks: honeydew.Queue, how: str, kind: str, exit_code: int | None, number: int | None) -> None:
        job = clerks.submit("stumble", how)
        with pytest.raises(honeydew.JobAbandoned) as caught:
            job.result(timeout=60)
        error = caught.value
        assert (error.kind, error.exit_code, error.signal, error.attempts) == (kind, exit_code, number, 2)
        assert isinstance(error.__cause__, KeyError) == (how == "raise")
        shown = "".join(traceback.format_exception(type(error), error, None))  # if nobody catches it
        assert ("in stumble" in shown) == (how in ("raise", "sys.exit"))
        assert not [name for name in ("worker_actor", "runner.py", "inline_workers", "tracing_helper") if name in error.traceback]
        assert ("stumble" in error.traceback) == (how in ("raise", "sys.exit"))
        assert (job.state, job.attempts) == (JobState.ABANDONED, 2)
        died = ["worker_died"] if how.startswith(("exit", "signal")) else []
        attempt = ["started", *died, "failed"]
        assert kinds(clerks, job) == ["enqueued", *attempt, "retrying", *attempt, "abandoned"]

    def test_a_failure_makes_the_state_anew(self, clerks: honeydew.Queue) -> None:
        clerks.submit("next").result(timeout=60)
        with pytest.raises(honeydew.JobAbandoned):
            clerks.submit("stumble", "raise").result(timeout=60)
        assert clerks.submit("next").result(timeout=60) == 1

    def test_a_job_that_takes_too_long(self, clerks: honeydew.Queue) -> None:
        with pytest.raises(honeydew.JobAbandoned) as caught:
            clerks.options(timeout_s=0.2).submit("slow", 0.5).result(timeout=60)
        assert (caught.value.kind, caught.value.attempts) == ("timeout", 2)

    def test_what_cannot_be_pickled(self, clerks: honeydew.Queue) -> None:
        with pytest.raises(honeydew.PayloadError):
            clerks.submit("greet", threading.Lock())
        with pytest.raises(honeydew.JobAbandoned, match="result cannot be pickled"):
            clerks.submit("unpicklable").result(timeout=60)

    def test_what_no_worker_can_do_is_refused(self, clerks: honeydew.Queue) -> None:
        with pytest.raises(honeydew.UnknownMethod, match=r"no worker has a method 'sing'; its workers run Clerk"):
            clerks.submit("sing")

    def test_large_arrays_in_and_out(self, clerks: honeydew.Queue) -> None:
        array = np.arange(500_000, dtype=np.float64)
        doubled = clerks.submit("double", array).result(timeout=60)
        assert np.array_equal(doubled, array * 2)
        assert not doubled.flags.writeable

    def test_waiting_jobs_seen_cancelled_and_run_in_order(self, clerks: honeydew.Queue) -> None:
        first = clerks.submit("next")
        first.result(timeout=60)
        clerks.suspend()
        low, high = clerks.submit("next", "low"), clerks.options(priority=5).submit("next", "high")
        dropped, later = clerks.submit("greet", "Ada"), clerks.options(delay_s=3600).submit("greet", "Bob")
        status = clerks.status()
        assert (status.pending, status.delayed, status.in_progress, status.suspended) == (3, 1, 0, True)
        assert {job.id for job in clerks.filter(method="next")} == {low.id, high.id}
        assert [job.id for job in clerks.filter(lambda job: "Ada" in job.args)] == [dropped.id]
        assert (low.state, later.state, low.method, later.args) == (JobState.PENDING, JobState.DELAYED, "next", ("Bob",))
        assert dropped.cancel() is later.cancel() is CancelOutcome.CANCELLED
        assert dropped.cancel() is CancelOutcome.NOT_FOUND
        with pytest.raises(TimeoutError):
            low.result(timeout=0.1)
        clerks.resume()
        assert low.result(timeout=60) == high.result(timeout=60) + 1
        with pytest.raises(honeydew.JobCancelled):
            dropped.result(timeout=60)
        assert kinds(clerks, dropped) == ["enqueued", "cancelled"]

    def test_a_job_that_is_moved(self, clerks: honeydew.Queue, start: Start) -> None:
        other = start()
        clerks.suspend()
        job = clerks.submit(math.sqrt, 9)
        there = job.move(other.name)
        clerks.resume()
        with pytest.raises(honeydew.JobMoved) as caught:
            job.result(timeout=60)
        assert (caught.value.queue, there.queue, there.id, there.state) == (other.name, other.name, job.id, JobState.PENDING)
        with pytest.raises(honeydew.QueueNotFound):
            there.move("nowhere")
        assert there.cancel() is CancelOutcome.CANCELLED

    def test_an_abandoned_job_is_retried(self, clerks: honeydew.Queue, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        job = clerks.submit("stumble_without", str(mark))
        with pytest.raises(honeydew.JobAbandoned):
            job.result(timeout=60)
        mark.touch()
        assert job.retry().result(timeout=60) == "found"
        with pytest.raises(honeydew.JobNotFound):
            job.retry()

    def test_progress_and_events(self, clerks: honeydew.Queue) -> None:
        job = clerks.submit("report", "1/2", {"done": 2})
        job.result(timeout=60)
        said = [event.progress for event in clerks.events(history=True, follow=False, kinds=["progressed"]) if event.job_id == job.id]
        assert said == ["1/2", {"done": 2}]
        assert kinds(clerks, job) == ["enqueued", "started", "progressed", "progressed", "succeeded"]

    def test_replies_and_ids(self, clerks: honeydew.Queue) -> None:
        silent = clerks.options(reply=False).submit("greet", "Ada")
        with pytest.raises(honeydew.ReplyNotRequested):
            silent.result()
        name = f"order-{os.urandom(4).hex()}"
        twice = [clerks.options(job_id=name).submit("next") for _ in range(2)]
        assert twice[0].result(timeout=60) == twice[1].result(timeout=60)
        assert clerks.job(name).result(timeout=60) == twice[0].result()
        with pytest.raises(honeydew.JobNotFound):
            clerks.job("nobody").result(timeout=60)

    def test_in_async_code(self, clerks: honeydew.Queue) -> None:
        async def wait() -> list[str]:
            return [await clerks.submit(Clerk.greet, name) for name in ("Ada", "Bob")]

        assert asyncio.run(wait()) == ["Hello, Ada!", "Hello, Bob!"]

    def test_a_worker_that_cannot_start_yet(self, start: Start, tmp_path: Path) -> None:
        queue = start(success_mode=Told(tmp_path / "told"))
        queue.start_workers(Clerk, "Good day", num=1, fail_until=str(tmp_path / "mark"), init_retry_s=0.3)
        with pytest.raises(honeydew.WorkersAlreadyStarted):
            queue.start_workers(Clerk)
        assert queue.submit("greet", "Ada").result(timeout=60) == "Good day, Ada!"
        assert [worker.state for worker in queue.status().workers] == [WorkerState.IDLE]
        while not (tmp_path / "told").exists() or not (tmp_path / "told").read_text():  # on Ray it is told a little later
            time.sleep(0.01)
        assert (tmp_path / "told").read_text() == "greet=Good day, Ada!\n"
        queue.stop(drain=True)

    def test_a_queue_that_is_stopped(self, start: Start) -> None:
        queue = start(suspended=True)
        with pytest.raises(honeydew.QueueAlreadyStarted):
            start(queue.name)
        job = queue.submit(math.sqrt, 4)
        queue.stop()
        with pytest.raises(honeydew.QueueLost):
            job.result(timeout=60)
        with pytest.raises(honeydew.QueueNotFound):
            queue.submit(math.sqrt, 4)

    def test_workers_whose_methods_are_coroutines(self, start: Start) -> None:
        queue = start()
        queue.start_workers(AsyncClerk, concurrency=4, num=1)
        assert list(queue.map("greet", ["Ada", "Bob"])) == ["Hello, Ada", "Hello, Bob"]

    def test_a_queue_that_is_full(self, start: Start) -> None:
        queue = start(max_pending=2, suspended=True)
        jobs = [queue.submit(math.sqrt, number) for number in (1, 4)]
        with pytest.raises(honeydew.QueueFull):
            queue.options(when_full="raise").submit(math.sqrt, 9)
        with pytest.raises(honeydew.QueueFull):
            queue.options(submit_timeout_s=0.2).submit(math.sqrt, 9)
        queue.resume()
        queue.start_workers(num=1)
        assert [job.result(timeout=60) for job in jobs] == [1, 2]
        assert queue.submit(math.sqrt, 9).result(timeout=60) == 3
