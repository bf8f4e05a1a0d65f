"""What is measured: each function returns the raw rounds, in which Honeydew and its baseline take turns."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util import ActorPool
from ray.util.queue import Queue as RayQueue

import honeydew_ray as honeydew
from tests.benchmarks.workers import WORKERS

Rows = list[dict[str, float]]
LARGE = 8 * 2**20


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def throughput(queue: honeydew.Queue, bare: Any, jobs: int, rounds: int) -> Rows:
    """Jobs a second, strict dispatch, results collected by the client, against the bare dispatcher."""
    expected = list(range(jobs))

    def ours() -> None:
        assert [job.result() for job in queue.submit_many("echo", expected)] == expected

    def theirs() -> None:
        assert ray.get(bare.run.remote(expected)) == expected

    ours(), theirs()
    return [{"honeydew": jobs / timed(ours), "bare": jobs / timed(theirs)} for _ in range(rounds)]


def durable_throughput(durable: honeydew.Queue, memory: honeydew.Queue, jobs: int, rounds: int) -> Rows:
    """Jobs a second, strict dispatch, results collected: the SQLite store against the memory store."""

    def run(queue: honeydew.Queue) -> float:
        return jobs / timed(lambda: [job.result() for job in queue.submit_many("echo", range(jobs))])

    run(durable), run(memory)
    return [{"sqlite": run(durable), "memory": run(memory)} for _ in range(rounds)]


def enqueue_rate(queue: honeydew.Queue, jobs: int, rounds: int) -> Rows:
    """Jobs a second into a suspended queue, by ``submit_many`` without replies: in custody when it returns."""
    queue.suspend()
    silent = queue.options(reply=False)
    rows = [{"rate": jobs / timed(lambda: silent.submit_many("echo", range(jobs)))} for _ in range(rounds)]
    assert queue.status().pending == jobs * rounds
    return rows


def latency(queue: honeydew.Queue, bare: Any, calls: int, rounds: int) -> Rows:
    """Seconds from submit to result on an idle queue, and of a bare actor call, at the median and the 95th percentile."""

    def spread(call: Callable[[], object]) -> tuple[float, float]:
        times = sorted(timed(call) for _ in range(calls))
        return times[calls // 2], times[int(calls * 0.95)]

    rows: Rows = []
    for _ in range(rounds):
        bare_p50, bare_p95 = spread(lambda: ray.get(bare.echo.remote(1)))
        p50, p95 = spread(lambda: queue.submit("echo", 1).result())
        rows.append({"p50": p50, "p95": p95, "bare_p50": bare_p50, "bare_p95": bare_p95})
    return rows


def recovery(queue: honeydew.Queue, rounds: int) -> Rows:
    """Seconds from kill -9 of a busy worker to its job running on an idle one."""
    rows: Rows = []
    for _ in range(rounds):
        queue.wait_for_workers(WORKERS)
        with tempfile.TemporaryDirectory() as folder:
            marks = Path(folder) / "marks"
            marks.touch()
            job = queue.submit("hold", str(marks))
            while not (lines := marks.read_text().splitlines()):
                time.sleep(0.001)
            victim = int(lines[0].split()[1])
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            assert job.result(timeout=30) != victim
            rows.append({"seconds": float(marks.read_text().splitlines()[1].split()[0]) - killed})
    return rows


def prefetched(queue: honeydew.Queue, bare_workers: list[Any], jobs: int, rounds: int) -> Rows:
    """Jobs a second with ``prefetch="auto"``, results collected, against bare calls to the same number of actors, all sent at once."""

    def ours() -> None:
        assert [job.result() for job in queue.submit_many("echo", range(jobs))] == list(range(jobs))

    calls = jobs // 4

    def theirs() -> None:
        assert ray.get([bare_workers[call % WORKERS].echo.remote(call) for call in range(calls)]) == list(range(calls))

    ours(), theirs()
    return [{"honeydew": jobs / timed(ours), "bare": calls / timed(theirs)} for _ in range(rounds)]


def others(queue: honeydew.Queue, bare_workers: list[Any], calls: int, rounds: int) -> Rows:
    """Calls a second of what users know: Honeydew's executor, ActorPool, a process pool; and items a second through ``ray.util.queue``."""
    pool = ActorPool(bare_workers)
    channel = RayQueue()
    with honeydew.executor(queue) as executor, concurrent.futures.ProcessPoolExecutor(WORKERS) as processes:

        def through_queue() -> None:
            for number in range(calls // 10):
                channel.put(number)
                assert channel.get() == number

        works: dict[str, tuple[int, Callable[[], object]]] = {
            "executor": (calls, lambda: list(executor.map(abs, range(calls)))),
            "process_pool": (calls, lambda: list(processes.map(abs, range(calls)))),
            "actor_pool": (calls, lambda: list(pool.map(lambda actor, value: actor.echo.remote(value), range(calls)))),  # pyright: ignore
            "ray_queue": (calls // 10, through_queue),
        }
        for _, work in works.values():
            work()
        rows = [{name: count / timed(work) for name, (count, work) in works.items()} for _ in range(rounds)]
    channel.shutdown()
    return rows


def payloads(queue: honeydew.Queue, bare: Any, calls: int, rounds: int) -> Rows:
    """MB a second of an 8 MiB array, in and out, one after the other, against a bare actor."""
    array = np.ones(LARGE, np.uint8)

    def rate(call: Callable[[], Any]) -> float:
        def all_calls() -> None:
            for _ in range(calls):
                assert call().nbytes == LARGE

        return 2 * calls * LARGE / 1e6 / timed(all_calls)

    def ours() -> float:
        return rate(lambda: queue.submit("echo", array).result())

    def theirs() -> float:
        return rate(lambda: ray.get(bare.echo.remote(array)))

    ours(), theirs()
    return [{"honeydew": ours(), "bare": theirs()} for _ in range(rounds)]


def backlog(queue: honeydew.Queue, jobs: int, waiting: int, rounds: int) -> Rows:
    """Jobs a second while many others of a lower priority wait, against none waiting."""
    urgent = queue.options(priority=1)

    def rate() -> float:
        return jobs / timed(lambda: [job.result() for job in urgent.submit_many("echo", range(jobs))])

    def crowded() -> float:
        queue.suspend()
        later = queue.options(reply=False, delay_s=3600)
        crowd = later.submit_many("echo", range(waiting))
        queue.resume()
        found = rate()
        for job in crowd[:1]:
            job.cancel()
        return found

    rate()
    return [{"alone": rate(), "crowded": crowded()} for _ in range(rounds)]
