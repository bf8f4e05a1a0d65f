"""Honeydew against bare Ray, in one run on one machine: ratios, because absolute times mean little elsewhere.

    make bench        or        python -m tests.benchmarks [--quick]

Each figure is the median over rounds in which Honeydew and bare Ray take turns. The raw rounds go,
as JSON lines, to ``tests/benchmarks/out/rounds.jsonl``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

import honeydew_ray as honeydew

OUT = Path(__file__).parent / "out" / "rounds.jsonl"
WORKERS = 2


class Echo:
    """The worker: state that is nothing, a job that is nothing."""

    def echo(self, value: Any) -> Any:
        return value

    def hold(self, marks: str) -> int:
        """Mark the start, and hold on the first attempt until killed."""
        path = Path(marks)
        with path.open("a") as file:
            file.write(f"{time.monotonic()} {os.getpid()}\n")
        if len(path.read_text().splitlines()) == 1:
            time.sleep(600)
        return os.getpid()


class BareDispatcher:
    """What a user would write by hand: an async actor that awaits its workers, one call at a time each."""

    def __init__(self, workers: list[Any]) -> None:
        self.workers = workers

    async def run(self, jobs: list[int]) -> list[int]:
        left = iter(list(enumerate(jobs)))
        results: list[int] = [0] * len(jobs)

        async def drive(worker: Any) -> None:
            for index, job in left:
                results[index] = await worker.echo.remote(job)

        await asyncio.gather(*(drive(worker) for worker in self.workers))
        return results


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def throughput(queue: honeydew.Queue, bare: Any, jobs: int, rounds: int) -> list[dict[str, float]]:
    """Jobs a second, strict dispatch, results collected by the client, against the bare dispatcher."""
    expected = list(range(jobs))

    def ours() -> None:
        assert [job.result() for job in queue.submit_many("echo", expected)] == expected

    def theirs() -> None:
        assert ray.get(bare.run.remote(expected)) == expected

    ours(), theirs()
    return [{"honeydew": jobs / timed(ours), "bare": jobs / timed(theirs)} for _ in range(rounds)]


def durable_throughput(durable: honeydew.Queue, memory: honeydew.Queue, jobs: int, rounds: int) -> list[dict[str, float]]:
    """Jobs a second, strict dispatch, results collected: the SQLite store against the memory store."""

    def run(queue: honeydew.Queue) -> float:
        return jobs / timed(lambda: [job.result() for job in queue.submit_many("echo", range(jobs))])

    run(durable), run(memory)
    return [{"sqlite": run(durable), "memory": run(memory)} for _ in range(rounds)]


def enqueue_rate(queue: honeydew.Queue, jobs: int, rounds: int) -> list[dict[str, float]]:
    """Jobs a second into a suspended queue, by ``submit_many`` without replies: in custody when it returns."""
    queue.suspend()
    silent = queue.options(reply=False)
    rows = [{"rate": jobs / timed(lambda: silent.submit_many("echo", range(jobs)))} for _ in range(rounds)]
    assert queue.status().pending == jobs * rounds
    return rows


def latency(queue: honeydew.Queue, bare: Any, calls: int, rounds: int) -> list[dict[str, float]]:
    """Seconds from submit to result on an idle queue, and of a bare actor call, at the median and the 95th percentile."""

    def spread(call: Callable[[], object]) -> tuple[float, float]:
        times = sorted(timed(call) for _ in range(calls))
        return times[calls // 2], times[int(calls * 0.95)]

    rows: list[dict[str, float]] = []
    for _ in range(rounds):
        bare_p50, bare_p95 = spread(lambda: ray.get(bare.echo.remote(1)))
        p50, p95 = spread(lambda: queue.submit("echo", 1).result())
        rows.append({"p50": p50, "p95": p95, "bare_p50": bare_p50, "bare_p95": bare_p95})
    return rows


def recovery(queue: honeydew.Queue, rounds: int) -> list[dict[str, float]]:
    """Seconds from kill -9 of a busy worker to its job running on an idle one."""
    rows: list[dict[str, float]] = []
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


def median(rows: list[dict[str, float]], value: Callable[[dict[str, float]], float]) -> float:
    return statistics.median(value(row) for row in rows)


def report(name: str, value: float, unit: str, budget: str, met: bool, note: str) -> None:
    print(f"{name:<52} {value:8.2f} {unit:<4} budget {budget:<10} {'met' if met else 'MISSED':<7} {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    rounds, kills = (3, 3) if quick else (7, 15)
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, Ray {ray.__version__}, "
          f"honeydew-ray {honeydew.__version__}")
    bare_class: Any = ray.remote(num_cpus=0, enable_task_events=False)(Echo)
    bare_workers = [bare_class.remote() for _ in range(WORKERS)]
    bare: Any = ray.remote(num_cpus=0, enable_task_events=False)(BareDispatcher).remote(bare_workers)
    queue = start("bench", honeydew.MemoryStore())
    rows = {
        "throughput": throughput(queue, bare, 1500, rounds),
        "latency": latency(queue, bare_workers[0], 300, rounds),
        "recovery": recovery(queue, kills),
    }
    with tempfile.TemporaryDirectory() as folder:
        durable = start("bench-durable", honeydew.SQLiteStore(Path(folder) / "bench.db"))
        rows["durable_throughput"] = durable_throughput(durable, queue, 1500, rounds)
        rows["enqueue_memory"] = enqueue_rate(queue, 20_000, rounds)
        rows["enqueue_sqlite"] = enqueue_rate(durable, 20_000, rounds)
        durable.stop()
    queue.stop()
    ray.shutdown()
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("".join(json.dumps({"benchmark": name, **row}) + "\n" for name, found in rows.items() for row in found))
    print_table(rows, kills)


def start(name: str, store: honeydew.Store) -> honeydew.Queue:
    queue = honeydew.start_queue(name, store=store, failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Echo, num=WORKERS)
    queue.wait_for_workers(WORKERS)
    return queue


def print_table(rows: dict[str, list[dict[str, float]]], kills: int) -> None:
    def middle(benchmark: str, value: str) -> float:
        return median(rows[benchmark], lambda row: row[value])

    strict = median(rows["throughput"], lambda row: row["honeydew"] / row["bare"])
    rates = f"{middle('throughput', 'honeydew'):.0f} against {middle('throughput', 'bare'):.0f} jobs/s"
    report("strict dispatch / bare async dispatcher", strict, "x", ">= 0.7", strict >= 0.7, rates)
    trips = median(rows["latency"], lambda row: row["p50"] / row["bare_p50"])
    times = f"{middle('latency', 'p50') * 1e3:.2f} against {middle('latency', 'bare_p50') * 1e3:.2f} ms"
    report("submit to result, idle queue, p50 / bare round trip", trips, "x", "<= 4", trips <= 4, times)
    kill = middle("recovery", "seconds") * 1e3
    report("kill -9 of a busy worker to its job on another, p50", kill, "ms", "<= 150", kill <= 150, f"{kills} kills")
    ratio = median(rows["durable_throughput"], lambda row: row["sqlite"] / row["memory"])
    rates = f"{middle('durable_throughput', 'sqlite'):.0f} against {middle('durable_throughput', 'memory'):.0f} jobs/s"
    report("strict dispatch, SQLiteStore / MemoryStore", ratio, "x", ">= 0.8", ratio >= 0.8, rates)
    for store, least in (("memory", 50_000), ("sqlite", 20_000)):
        rate = middle(f"enqueue_{store}", "rate")
        report(f"submit_many, {store}, in custody", rate, "/s", f">= {least}", rate >= least, "20,000 jobs a round")


if __name__ == "__main__":
    main()
