"""The queue as a whole: status, suspend, cancel, move, filter, progress, stop, and the death of its process."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.experimental.internal_kv import _internal_kv_list

import honeydew_ray as honeydew
from honeydew_ray import CancelOutcome, JobState, WorkerState
from tests.cluster.crew import Crew
from tests.cluster.signals import Signal

Start = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


def test_status_shows_jobs_and_workers(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    started, finish = new_signal(), new_signal()
    job = queue.submit("publish", ["10/50", {"done": 20}], started, finish)
    started.wait()
    queue.options(delay_s=3600).submit("add", 1)
    status = queue.status()
    assert (status.name, status.pending, status.delayed, status.in_progress, status.abandoned) == (queue.name, 0, 1, 1, 0)
    assert status.store == "MemoryStore"
    assert not status.suspended
    assert status.pid not in (None, os.getpid())
    by_state = {worker.state: worker for worker in status.workers}
    assert set(by_state) == {WorkerState.IDLE, WorkerState.BUSY}
    assert by_state[WorkerState.BUSY].job == job.id
    finish.send()
    job.result(timeout=30)


def test_progress_is_shown_the_latest_last(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    started, finish = new_signal(), new_signal()
    job = queue.submit("publish", [*range(10_000), "last"], started, finish)
    started.wait()
    while job.progress != "last":  # it may be on its way for a tenth of a second
        assert job.state is JobState.IN_PROGRESS
    assert queue.status().workers[0].progress == "last"
    finish.send()
    job.result(timeout=30)
    assert job.progress is None


def test_suspend_and_resume(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    queue.wait_for_workers(2)
    started, finish = new_signal(), new_signal()
    running = queue.submit("hold", started, finish)
    started.wait()
    queue.suspend()
    assert queue.status().suspended
    jobs = queue.submit_many("add", range(5))
    finish.send("runs on")
    assert running.result(timeout=30) == "runs on"
    queue.start_workers(Crew, num=1, group="newcomers")  # must not break the suspension
    queue.wait_for_workers(3)
    assert [job.state for job in jobs] == [JobState.PENDING] * 5
    queue.resume()
    assert [job.result(timeout=30) for job in jobs] == list(range(5))


def test_nothing_starts_after_suspend_returns(new_queue: Start, tmp_path: Any) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=4)
    queue.wait_for_workers(4)
    journal = tmp_path / "journal"
    journal.touch()
    for _ in range(30):
        jobs = queue.submit_many("log", [str(journal)] * 40, range(40))
        queue.suspend()
        done = sum(job.state is JobState.DONE for job in jobs)
        status = queue.status()
        written = len(journal.read_text().splitlines())
        assert status.in_progress == 0 or status.in_progress + status.pending + done >= 40
        for job in jobs:
            if job.state is JobState.IN_PROGRESS:
                job.result(timeout=30)
        settled = len(journal.read_text().splitlines())
        assert settled - written <= status.in_progress  # only what ran already went on
        queue.resume()
        for job in jobs:
            job.result(timeout=30)
    assert len(journal.read_text().splitlines()) == 30 * 40


def test_a_queue_may_start_suspended(new_queue: Start) -> None:
    queue = new_queue(suspended=True)
    queue.start_workers(Crew, num=1)
    queue.wait_for_workers(1)
    job = queue.submit("add", 1)
    assert queue.status().suspended
    assert job.state is JobState.PENDING
    queue.resume()
    assert job.result(timeout=30) == 1


def test_cancel_a_waiting_job(new_queue: Start) -> None:
    queue = new_queue()
    pending, delayed = queue.submit("add", 1), queue.options(delay_s=3600).submit("add", 2)
    assert pending.cancel() is CancelOutcome.CANCELLED
    assert delayed.cancel(running=True) is CancelOutcome.CANCELLED
    assert pending.cancel() is CancelOutcome.NOT_FOUND
    with pytest.raises(honeydew.JobCancelled):
        pending.result(timeout=30)
    queue.start_workers(Crew, num=1)
    assert queue.submit("count").result(timeout=30) == 1
    assert queue.status().delayed == 0


def test_cancel_between_two_attempts(new_queue: Start, tmp_path: Any) -> None:
    journal = tmp_path / "journal"
    queue = new_queue(failure_mode=honeydew.Retry(times=5, delay_s=3600))
    queue.start_workers(Crew, num=1)
    job = queue.submit("log_and_die", "raise", str(journal))
    while job.state is not JobState.DELAYED:
        pass
    assert job.cancel() is CancelOutcome.CANCELLED
    with pytest.raises(honeydew.JobCancelled):
        job.result(timeout=30)
    assert journal.read_text().splitlines() == ["started"]


def test_move_a_waiting_job(new_queue: Start, new_signal: NewSignal) -> None:
    here, there = new_queue(), new_queue()
    array = np.arange(200_000, dtype=np.int64)
    job, delayed = here.submit("give", array), here.options(delay_s=3600).submit("give", 1)
    moved = job.move(there.name)
    assert moved.id == job.id
    assert moved.queue == there.name
    assert delayed.move(there.name).state is JobState.DELAYED
    with pytest.raises(honeydew.JobMoved) as caught:
        job.result(timeout=30)
    assert caught.value.queue == there.name
    assert here.status().pending == here.status().delayed == 0
    there.start_workers(Crew, num=1)
    assert np.array_equal(moved.result(timeout=30), array)
    with pytest.raises(honeydew.JobNotFound):
        moved.move(here.name)


def test_move_that_cannot_be(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    job = queue.submit("add", 1)
    with pytest.raises(honeydew.QueueNotFound):
        job.move("nowhere")
    with pytest.raises(honeydew.HoneydewError, match="already"):
        job.move(queue.name)
    assert job.state is JobState.PENDING
    queue.start_workers(Crew, num=1)
    assert job.result(timeout=30) == 1
    started, finish = new_signal(), new_signal()
    running = queue.submit("hold", started, finish)
    started.wait()
    with pytest.raises(honeydew.JobInProgress):
        running.move(new_queue().name)
    finish.send()
    running.result(timeout=30)


def test_filter_by_predicate_method_and_state(new_queue: Start) -> None:
    queue = new_queue()
    adds = queue.submit_many("add", range(2500))
    gives = queue.submit_many("give", "abc")
    later = queue.options(delay_s=3600, priority=3).submit("add", 5)
    assert queue.filter(lambda job: job.method == "give" and job.args[0] == "b") == [gives[1]]
    assert queue.filter(method="give") == gives
    assert queue.filter(state="delayed") == [later]
    assert queue.filter(lambda job: job.args[0] % 500 == 0, method="add", state="pending") == adds[::500]
    assert len(queue.filter()) == 2504
    found = queue.filter(method="give")[0]
    assert (found.method, found.args, found.kwargs, found.private) == ("give", ("a",), {}, None)
    with pytest.raises(ValueError, match="lost"):
        queue.filter(state="lost")


def test_large_arrays_go_in_and_out_without_a_copy(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    array = np.arange(1_000_000, dtype=np.float64)
    job = queue.submit("give", {"array": array, "small": np.arange(3), "text": "x"})
    value = job.result(timeout=30)
    assert np.array_equal(value["array"], array)
    assert not value["array"].flags.writeable  # mapped from the object store, shared with others
    assert value["small"].flags.writeable
    assert value["text"] == "x"
    assert job.result() is value


def test_a_large_result_outlives_its_worker(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    job = queue.submit("give", np.ones(500_000))
    worker = queue.submit("pid").result(timeout=30)
    os.kill(worker, signal.SIGKILL)
    assert queue.submit("pid").result(timeout=30) != worker
    assert job.result(timeout=30).sum() == 500_000


def test_a_retried_job_still_has_its_large_arguments(new_queue: Start, tmp_path: Any) -> None:
    queue = new_queue(failure_mode=honeydew.Retry(times=1))
    queue.start_workers(num=2)
    mark = str(tmp_path / "mark")
    assert queue.submit(sum_at_second_attempt, np.ones(500_000), mark).result(timeout=30) == 500_000


def sum_at_second_attempt(array: Any, mark: str) -> float:
    if not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    return float(array.sum())


def test_stop_ends_queue_and_workers_and_lets_waiters_go(new_queue: Start) -> None:
    queue = new_queue()
    job = queue.submit("add", 1)
    queue.start_workers(Crew, num=1, group="other")
    job.result(timeout=30)
    queue.stop_workers("other")
    left = queue.submit("add", 2)
    queue.stop()
    with pytest.raises(honeydew.QueueLost):
        left.result(timeout=30)
    assert queue.name not in honeydew.queues()
    with pytest.raises(honeydew.QueueNotFound):
        queue.submit("add", 3)
    with pytest.raises(honeydew.QueueNotFound):
        queue.status()
    again = new_queue(queue.name)
    assert again.status().pending == 0


def test_stop_with_drain_finishes_the_backlog(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    jobs = [*queue.submit_many("add", range(200)), queue.options(delay_s=0.3).submit("add", 200)]
    queue.stop(drain=True, timeout=30)
    assert [job.result(timeout=1) for job in jobs] == list(range(201))


def test_a_suspended_queue_cannot_drain(new_queue: Start) -> None:
    queue = new_queue(suspended=True)
    with pytest.raises(honeydew.QueueSuspended):
        queue.stop(drain=True)
    queue.submit("add", 1)
    assert queue.status().pending == 1


def test_a_memory_queue_whose_process_died_says_so_and_works_on(new_queue: Start, new_signal: NewSignal) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    queue.wait_for_workers(1)
    worker = queue.status().workers[0].pid
    started, finish = new_signal(), new_signal()
    running = queue.submit("hold", started, finish)
    started.wait()
    waiting = queue.submit("add", 1)
    queue.suspend()
    died = queue.status().pid
    assert died is not None
    os.kill(died, signal.SIGKILL)
    for job in (running, waiting):
        with pytest.raises(honeydew.QueueLost):
            job.result(timeout=30)
    after = queue.submit("pid")  # its worker is busy with a job of the queue that was
    status = queue.status()
    assert status.pid != died
    assert not status.suspended
    assert status.pending + status.in_progress == 1
    finish.send()
    assert after.result(timeout=30) == worker


def test_many_threads_may_wait_at_once(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=2)
    results: list[int] = []

    def client(number: int) -> None:
        results.extend(queue.submit("add", number * 100 + turn).result(timeout=60) for turn in range(20))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(number * 100 + turn for number in range(8) for turn in range(20))


def test_a_drain_that_times_out_leaves_the_queue_as_it_was(new_queue: Start) -> None:
    queue = new_queue()
    queue.submit("add", 1)
    with pytest.raises(TimeoutError, match=r"still has 1 job\(s\) after 0.2 s; it goes on"):
        queue.stop(drain=True, timeout=0.2)
    queue.submit("add", 2)
    assert queue.status().pending == 2


def test_done_of_a_job_that_somebody_else_submitted(new_queue: Start) -> None:
    queue = new_queue()
    job_id = queue.submit("add", 1).id
    assert not queue.job(job_id).done()
    queue.start_workers(Crew, num=1)
    while not queue.job(job_id).done():
        pass
    assert queue.job(job_id).result(timeout=30) == 1


def test_one_id_for_many_jobs_is_refused(new_queue: Start) -> None:
    queue = new_queue()
    with pytest.raises(ValueError, match="two jobs of one id are one job"):
        queue.options(job_id="a").submit_many("add", [1, 2])
    with pytest.raises(ValueError, match="two jobs of one id are one job"):
        next(queue.options(job_id="a").map("add", [1, 2]))
    assert queue.status().pending == 0


def test_the_status_reads_well(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Crew, num=1)
    queue.wait_for_workers(1)
    lines = str(queue.status()).splitlines()
    assert lines[0] == f"queue '{queue.name}' (MemoryStore), running: 0 pending, 0 delayed, 0 in progress, 0 abandoned"
    assert lines[1].endswith(": idle")


@dataclass(frozen=True)
class Judgement(honeydew.FailureMode):
    """Abandons what failed, by what it knows, which is a lot."""

    known: Any

    def decide(self, job: honeydew.JobRecord, failure: honeydew.Failure) -> honeydew.Decision:
        return honeydew.Discard()


def start_and_leave(name: str) -> None:
    honeydew.start_queue(name, failure_mode=Judgement(np.zeros(100_000)))


def test_a_queue_with_a_large_failure_mode_is_restarted_though_who_started_it_is_gone(new_queue: Start) -> None:
    starter, queue_name = new_queue(), f"large-{uuid.uuid4().hex[:8]}"
    starter.start_workers(num=1, ray_options={"num_cpus": 0})
    starter.submit(start_and_leave, queue_name).result(timeout=30)
    starter.stop()  # and with its worker what that has in the object store
    queue = honeydew.get_queue(queue_name)
    try:
        queue.start_workers(Crew, num=1)
        assert queue.submit("add", 1).result(timeout=30) == 1
        pid = queue.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # at once: what ray.kill ends may take a job, and that into its grave
        assert queue.submit("count").result(timeout=30) == 2, "by the same worker"
    finally:
        queue.stop()
    assert not _internal_kv_list(b"honeydew kept")


def test_nothing_is_left_of_a_large_queue_that_could_not_start(new_queue: Start, tmp_path: Path) -> None:
    queue_name, large = f"large-{uuid.uuid4().hex[:8]}", Judgement(np.zeros(100_000))
    (tmp_path / "no database").write_text("but a text")
    with pytest.raises(honeydew.HoneydewError):
        honeydew.start_queue(queue_name, store=honeydew.SQLiteStore(tmp_path / "no database"), failure_mode=large)
    with pytest.raises(honeydew.QueueAlreadyStarted):
        honeydew.start_queue(new_queue().name, failure_mode=large)
    with pytest.raises(honeydew.PayloadError, match="what queue .* is made of cannot be pickled"):
        honeydew.start_queue(queue_name, failure_mode=Judgement(threading.Lock()))
    assert queue_name not in honeydew.queues()
    assert not _internal_kv_list(b"honeydew kept")
