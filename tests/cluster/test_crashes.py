"""Jobs that end their attempt in every bad way, on real processes: where the job goes, and why."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

import honeydew_ray as honeydew
from honeydew_ray import JobState
from tests.cluster.crew import Crew
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]

# how the job ends its attempt, and what the failure says: kind, exit code, signal
ENDS = [
    ("raise", "exception", None, None),
    ("interrupt", "exception", None, None),
    ("sys.exit 0", "exit", 0, None),
    ("sys.exit 4", "exit", 4, None),
    ("exit 0", "exit", 0, None),
    ("exit 1", "exit", 1, None),
    (f"signal {int(signal.SIGKILL)}", "signal", None, signal.SIGKILL),
    ("segfault", "signal", None, signal.SIGSEGV),
    ("abort", "signal", None, signal.SIGABRT),
]
SURVIVED = {"raise", "interrupt", "sys.exit 0", "sys.exit 4"}
each_end = pytest.mark.parametrize(("how", "kind", "exit_code", "number"), ENDS, ids=[end[0] for end in ENDS])


@pytest.fixture(scope="module")
def abandoning(ray_cluster: None) -> honeydew.Queue:
    queue = honeydew.start_queue("crashes-abandon")
    queue.start_workers(Crew, num=2)
    yield queue
    queue.stop()


@pytest.fixture(scope="module")
def retrying(ray_cluster: None) -> honeydew.Queue:
    queue = honeydew.start_queue("crashes-retry", failure_mode=honeydew.Retry(times=2))
    queue.start_workers(Crew, num=2)
    yield queue
    queue.stop()


@each_end
def test_an_abandoned_job_says_why(abandoning: honeydew.Queue, how: str, kind: str, exit_code: int | None, number: int | None) -> None:
    job = abandoning.submit("die", how)
    with pytest.raises(honeydew.JobAbandoned) as caught:
        job.result(timeout=30)
    error = caught.value
    assert (error.kind, error.exit_code, error.signal) == (kind, exit_code, number)
    assert error.attempts == error.attempt == 1
    assert error.node == ray.get_runtime_context().get_node_id()  # one node here
    assert job.state is JobState.ABANDONED
    assert job in abandoning.filter(state="abandoned")
    assert abandoning.submit("add", 1).result(timeout=30) == 1


@each_end
def test_a_retried_job_starts_as_often_as_allowed(
    retrying: honeydew.Queue, tmp_path: Path, how: str, kind: str, exit_code: int | None, number: int | None
) -> None:
    journal = tmp_path / "journal"
    job = retrying.submit("log_and_die", how, str(journal))
    with pytest.raises(honeydew.JobAbandoned) as caught:
        job.result(timeout=30)
    assert caught.value.kind == kind
    assert caught.value.attempts == 3
    assert journal.read_text().splitlines() == ["started"] * 3


@each_end
def test_a_job_that_fails_once_succeeds_on_another_attempt(
    retrying: honeydew.Queue, tmp_path: Path, how: str, kind: str, exit_code: int | None, number: int | None
) -> None:
    mark = tmp_path / "mark"
    job = retrying.submit("die_once", how, str(mark))
    second = job.result(timeout=30)
    assert (second != int(mark.read_text())) or how in SURVIVED  # a process that died does not come back
    assert job.attempts == 2
    assert job.last_error is not None
    assert (job.last_error.kind, job.last_error.exit_code, job.last_error.signal) == (kind, exit_code, number)


def test_a_failed_job_moves_with_its_id_and_arguments(new_queue: Start) -> None:
    letters = new_queue("letters")
    queue = new_queue(failure_mode=honeydew.Retry(times=1, finally_=honeydew.Move("letters")))
    queue.start_workers(Crew, num=1)
    job = queue.submit("die", "raise")
    with pytest.raises(honeydew.JobMoved) as caught:
        job.result(timeout=30)
    assert caught.value.queue == "letters"
    assert caught.value.attempts == 2
    assert isinstance(caught.value.__cause__, ValueError)
    there = letters.job(job.id)
    assert there.state is JobState.PENDING
    assert there.args == ("raise",)
    assert there.last_error is not None and there.last_error.kind == "exception"
    assert letters.status().pending == 1
    assert queue.status().in_progress == queue.status().pending == queue.status().abandoned == 0


def test_a_move_to_no_queue_keeps_the_job_in_the_dead_list(new_queue: Start) -> None:
    queue = new_queue(failure_mode=honeydew.Move("nowhere"))
    queue.start_workers(Crew, num=1)
    job = queue.submit("die", "raise")
    with pytest.raises(honeydew.JobAbandoned) as caught:
        job.result(timeout=60)
    assert "raised on purpose" in caught.value.message
    assert "nowhere" in caught.value.message
    assert queue.filter(state=JobState.ABANDONED) == [job]


def test_a_segfault_leaves_its_traceback(abandoning: honeydew.Queue) -> None:
    with pytest.raises(honeydew.JobAbandoned) as caught:
        abandoning.submit("die", "segfault").result(timeout=30)
    assert "Segmentation fault" in caught.value.traceback
    assert "in die" in caught.value.traceback


def test_a_dead_worker_is_replaced_and_its_id_not_used_again(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    before = {worker.id: worker.pid for worker in queue.status().workers}
    with pytest.raises(honeydew.JobAbandoned):
        queue.submit("die", "exit 1").result(timeout=30)
    queue.wait_for_workers(2)
    after = {worker.id: worker.pid for worker in queue.status().workers}
    assert len(after) == 2
    assert len(before.keys() & after.keys()) == 1


def test_a_worker_that_dies_idle_touches_no_job(new_queue: Start) -> None:
    queue = new_queue()  # Abandon: a job that a death is counted against would be lost from the line
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    for _ in range(5):
        victim = queue.status().workers[0].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        jobs = [queue.submit("pid") for _ in range(4)]  # at once, before anybody can know
        assert victim not in [job.result(timeout=30) for job in jobs]
        assert [job.attempts for job in jobs] == [1] * 4
        queue.wait_for_workers(2)


def test_timeout_kills_the_job_and_its_worker(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue(failure_mode=honeydew.Abandon())
    queue.start_workers(Crew, num=1)
    started = new_signal()
    job = queue.options(timeout_s=2).submit("hold", started, new_signal())
    victim = int(started.wait())
    with pytest.raises(honeydew.JobAbandoned, match=r"timeout_s of 2 s") as caught:
        job.result(timeout=30)
    assert caught.value.kind == "timeout"
    assert queue.submit("pid").result(timeout=30) != victim
    assert not Path(f"/proc/{victim}").exists()


def test_a_job_within_its_timeout_is_left_alone(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    assert queue.options(timeout_s=30).submit("add", 1).result(timeout=30) == 1


def test_cancel_a_running_job(new_queue: Start, new_signal: Callable[[], Signal]) -> None:
    queue = new_queue(failure_mode=honeydew.Retry(times=5))
    queue.start_workers(Crew, num=1)
    started = new_signal()
    job = queue.submit("hold", started, new_signal())
    victim = int(started.wait())
    assert job.cancel() is honeydew.CancelOutcome.IN_PROGRESS
    assert job.cancel(running=True) is honeydew.CancelOutcome.CANCELLED
    with pytest.raises(honeydew.JobCancelled):
        job.result(timeout=30)
    assert job.state is JobState.CANCELLED
    assert job.cancel() is honeydew.CancelOutcome.NOT_FOUND
    assert queue.submit("pid").result(timeout=30) != victim
