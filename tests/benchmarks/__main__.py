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
    queue = honeydew.start_queue("bench", failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Echo, num=WORKERS)
    queue.wait_for_workers(WORKERS)
    rows = {
        "throughput": throughput(queue, bare, 1500, rounds),
        "latency": latency(queue, bare_workers[0], 300, rounds),
        "recovery": recovery(queue, kills),
    }
    queue.stop()
    ray.shutdown()

    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("".join(json.dumps({"benchmark": name, **row}) + "\n" for name, found in rows.items() for row in found))
    strict = median(rows["throughput"], lambda row: row["honeydew"] / row["bare"])
    ours, bare_rate = (median(rows["throughput"], lambda row, who=who: row[who]) for who in ("honeydew", "bare"))
    rates = f"{ours:.0f} against {bare_rate:.0f} jobs/s"
    report("strict dispatch / bare async dispatcher", strict, "x", ">= 0.7", strict >= 0.7, rates)
    trips = median(rows["latency"], lambda row: row["p50"] / row["bare_p50"])
    ours, bare_trip = (median(rows["latency"], lambda row, what=what: row[what]) for what in ("p50", "bare_p50"))
    times = f"{ours * 1e3:.2f} against {bare_trip * 1e3:.2f} ms"
    report("submit to result, idle queue, p50 / bare round trip", trips, "x", "<= 4", trips <= 4, times)
    kill = median(rows["recovery"], lambda row: row["seconds"]) * 1e3
    report("kill -9 of a busy worker to its job on another, p50", kill, "ms", "<= 150", kill <= 150, f"{kills} kills")


if __name__ == "__main__":
    main()
