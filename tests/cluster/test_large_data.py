"""Large arguments and results: they travel through Ray's object store, and their memory is given back."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray

import honeydew_ray as honeydew

Start = Callable[..., honeydew.Queue]

JOBS = int(os.environ.get("HONEYDEW_LARGE_JOBS", "60"))
LARGE = 8 * 2**20


class Scale:
    def double(self, array: Any) -> Any:
        assert not array.flags.writeable, "mapped from the store, not copied"
        return array * 2

    def ones(self, nbytes: int) -> Any:
        return np.ones(nbytes, np.uint8)

    def pid(self) -> int:
        return os.getpid()


def stored_bytes() -> int:
    """What Ray's object store holds."""
    key = "object_store_memory"
    return int(ray.cluster_resources()[key] - ray.available_resources().get(key, 0.0))


def heap_bytes(pid: int) -> int:
    """The memory that a process has to itself: what it maps from the store does not count."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def settled_at(bound: int, patience_s: float = 20.0) -> int:
    """What the store holds, once it is under a bound; references are given up a little later than values."""
    until = time.monotonic() + patience_s
    while stored_bytes() > bound and time.monotonic() < until:
        gc.collect()
        time.sleep(0.1)
    return stored_bytes()


def test_memory_stays_flat_over_many_large_jobs(new_queue: Start) -> None:
    queue = new_queue(result_ttl_s=0.5)
    queue.start_workers(Scale, num=2)
    array = np.ones(LARGE, np.uint8)
    for _ in range(5):
        assert int(queue.submit("double", array).result(timeout=60)[-1]) == 2
    pid = queue.status().pid
    assert pid is not None
    heap = heap_bytes(pid)
    workers = [worker.pid for worker in queue.status().workers if worker.pid is not None]
    heaps = [heap_bytes(worker) for worker in workers]
    for _ in range(JOBS):
        assert int(queue.submit("double", array).result(timeout=60)[-1]) == 2
    assert heap_bytes(pid) - heap < LARGE, "nothing large passes through the queue's heap"
    assert all(heap_bytes(worker) - before < 4 * LARGE for worker, before in zip(workers, heaps, strict=True))
    time.sleep(1.0)
    assert int(queue.submit("double", array[:200_000]).result(timeout=60)[-1]) == 2  # with it, what was kept for its time is dropped
    assert settled_at(6 * LARGE) <= 6 * LARGE


def test_a_large_result_outlives_the_worker_that_made_it(new_queue: Start) -> None:
    queue = new_queue()
    queue.start_workers(Scale, num=1)
    for nbytes in (LARGE, LARGE, 10, 10, LARGE):  # what a method returned before decides how its next result travels
        job = queue.submit("ones", nbytes)
        while not job.done():
            time.sleep(0.01)
        os.kill(queue.submit("pid").result(timeout=60), signal.SIGKILL)
        assert queue.submit("pid").result(timeout=60)
        value = job.result(timeout=60)
        assert (value.nbytes, int(value.min()), int(value.max())) == (nbytes, 1, 1)
        assert value.flags.writeable == (nbytes != LARGE), "large ones are mapped from the store, not copied"


class Sums:
    """Adds to an array of its own, which each job returns."""

    def __init__(self) -> None:
        self.sum = np.zeros(50_000)

    def add(self, number: int) -> Any:
        self.sum += number
        return self.sum


def test_a_large_result_is_what_the_job_returned_whatever_the_next_of_its_lease_does(new_queue: Start) -> None:
    queue = new_queue(suspended=True)
    queue.start_workers(Sums, num=1, prefetch="auto")
    jobs = queue.submit_many("add", [1] * 50)
    queue.resume()
    assert [job.result(timeout=60)[0] for job in jobs] == list(range(1, 51))
