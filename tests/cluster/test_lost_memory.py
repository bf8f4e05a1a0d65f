"""A memory queue that lost its process finds workers with what they were left with by the jobs that nobody knows any more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

import honeydew_ray as honeydew
from tests.cluster.signals import Signal

NewQueue = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]


class Ledger:
    """A state that a job can spoil."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def spoil(self, queue_pid: int, go: Signal) -> None:
        go.wait()  # until the queue has said that it has the job, or it is sent once more
        self.notes.append("spoilt")
        os.kill(queue_pid, signal.SIGKILL)
        raise ValueError("and nobody hears of it")

    def linger(self, queue_pid: int, go: Signal) -> None:
        go.wait()
        os.kill(queue_pid, signal.SIGKILL)
        time.sleep(3600)

    def read(self) -> tuple[int, list[str]]:
        return os.getpid(), self.notes


def started(new_queue: NewQueue) -> tuple[honeydew.Queue, int]:
    queue = new_queue()
    queue.start_workers(Ledger, num=1, ray_options={"num_cpus": 0})
    queue.wait_for_workers(1)
    return queue, queue.status().pid or 0


def lost(job: honeydew.Job[Any], go: Signal) -> None:
    go.send()
    with pytest.raises(honeydew.QueueLost):
        job.result(timeout=30)


def test_no_job_meets_a_state_that_a_forgotten_one_spoilt(new_queue: NewQueue, new_signal: NewSignal) -> None:
    queue, queue_pid = started(new_queue)
    worker_pid, _ = queue.submit("read").result(timeout=30)
    go = new_signal()
    lost(queue.submit("spoil", queue_pid, go), go)
    assert queue.submit("read").result(timeout=30) == (worker_pid, [])


def test_a_forgotten_job_that_outlives_its_timeout_does_not_keep_its_worker(new_queue: NewQueue, new_signal: NewSignal) -> None:
    queue, queue_pid = started(new_queue)
    worker_pid, _ = queue.submit("read").result(timeout=30)
    go = new_signal()
    lost(queue.options(timeout_s=3).submit("linger", queue_pid, go), go)
    other_pid, _ = queue.submit("read").result(timeout=60)
    assert other_pid != worker_pid


def test_a_job_that_was_lost_may_be_submitted_again_under_its_id(new_queue: NewQueue) -> None:
    queue = new_queue()
    with_id = queue.options(job_id="order-17")
    lost_job = with_id.submit(abs, -1)
    os.kill(queue.status().pid or 0, signal.SIGKILL)
    with pytest.raises(honeydew.QueueLost):
        lost_job.result(timeout=60)
    queue.start_workers(num=1)
    assert with_id.submit(abs, -1).result(timeout=60) == 1
    assert queue.job(lost_job.id).result(timeout=60) == 1
    with pytest.raises(honeydew.QueueLost):
        lost_job.result(timeout=60)
