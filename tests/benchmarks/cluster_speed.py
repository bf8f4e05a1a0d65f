"""How fast a cluster heals, and what a large group costs.

    python -m tests.benchmarks.cluster_speed [--workers 200] [--quick]

A lost node: seconds from Ray's own word that an actor of the node is dead to each lost job running
elsewhere. A large group, on paper cores: workers started a second, against bare actors started in
the same way, and the cost of a job with all of them against that with four.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ray

import honeydew_ray as honeydew
from tests.benchmarks.__main__ import Echo
from tests.cluster.machines import Machines, machines, until
from tests.cluster.signals import Signal

_WORKER_MB = 90
_SPARE_MB = 4_000
FEW = 4


class Holder:
    """Says that its job has started, and holds it."""

    def hold(self, started: Signal) -> None:
        started.send(ray.get_runtime_context().get_node_id())
        threading.Event().wait()


def healing(nodes: Machines, rounds: int) -> list[float]:
    """Seconds from Ray's word to the last of two lost jobs running on another node."""
    from tests.cluster.nodes.test_healing import Canary, death_of

    rows: list[float] = []
    for number in range(rounds):
        lost = nodes.add("b")
        queue = honeydew.start_queue(f"healing-{number}", ray_options={"resources": {"head": 0.001}})
        with tempfile.TemporaryDirectory() as folder:
            signals = [Signal.make(Path(folder), f"{number}") for number in range(2)]
            queue.start_workers(Holder, num=2, nodes=[lost], group="lost")
            jobs = [queue.submit("hold", started) for started in signals]
            assert {started.wait() for started in signals} == {lost}
            queue.start_workers(Holder, num=2, nodes=[nodes.head], group="spare", shutdown_s=0)
            queue.wait_for_workers(4)
            bird = Canary.on(lost)
            gone = nodes.lose(lost)
            told_at = death_of(bird)
            assert {started.wait() for started in signals} == {nodes.head}
            rows.append(time.monotonic() - told_at)
            gone.join()
            assert all(job.attempts == 2 for job in jobs)
        queue.stop()
    return rows


def bare_rate(actors: int) -> float:
    """Bare actors started a second."""
    bare: Any = ray.remote(num_cpus=0, enable_task_events=False)(Echo)
    began = time.perf_counter()
    started = [bare.remote() for _ in range(actors)]
    ray.get([actor.echo.remote(0) for actor in started])
    rate = actors / (time.perf_counter() - began)
    for actor in started:
        ray.kill(actor)
    return rate


def worker_rate(queue: honeydew.Queue, workers: int) -> float:
    """Workers started a second, for a queue that has none."""
    began = time.perf_counter()
    queue.start_workers(Echo, num=workers, ray_options={"num_cpus": 0})
    queue.wait_for_workers(workers, timeout=600)
    return workers / (time.perf_counter() - began)


def cost(queue: honeydew.Queue, jobs: int) -> float:
    """Seconds a no-op job, from the first submit to the last result."""
    began = time.perf_counter()
    assert [job.result(timeout=120) for job in queue.submit_many("echo", range(jobs))] == list(range(jobs))
    return (time.perf_counter() - began) / jobs


def large_group(workers: int, jobs: int, rounds: int) -> dict[str, float]:
    """Start-up and dispatch, with many workers and with few, in turns."""
    few = honeydew.start_queue("small")
    few.start_workers(Echo, num=FEW, ray_options={"num_cpus": 0})
    few.wait_for_workers(FEW)
    many = honeydew.start_queue("large")
    sample = min(workers, 30)
    rates: list[tuple[float, float]] = []
    for _ in range(rounds):
        rates.append((bare_rate(sample), worker_rate(many, sample)))
        many.stop_workers()
    rate = worker_rate(many, workers)
    cost(few, jobs), cost(many, jobs)
    costs = [(cost(few, jobs), cost(many, jobs)) for _ in range(rounds)]
    few.stop()
    many.stop()
    few_s, many_s = (statistics.median(times) for times in zip(*costs, strict=True))
    return {"start": statistics.median(ours / bare for bare, ours in rates), "rate": rate, "few_s": few_s, "many_s": many_s}


def _as_many_as_fit(wanted: int) -> int:
    facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available_mb = int(facts["MemAvailable"].split()[0]) // 1024
    return max(FEW, min(wanted, (available_mb - _SPARE_MB) // _WORKER_MB))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    asked = parser.parse_args()
    rounds = 2 if asked.quick else 5
    with machines(head_cpus=16) as nodes:
        until(lambda: nodes.alive() == [nodes.head])
        times = healing(nodes, rounds)
        print(f"lost node, from Ray's word to both lost jobs running elsewhere: median {statistics.median(times) * 1000:.0f} ms, "
              f"worst {max(times) * 1000:.0f} ms of {rounds} (budget: 1000)", flush=True)
        workers = _as_many_as_fit(asked.workers)
        found = large_group(workers, 500 if asked.quick else 2000, rounds)
        print(f"{workers} workers, {found['rate']:.1f} started a second; workers against bare actors, 30 at a time: {found['start']:.2f} x")
        print(f"a no-op job: {found['many_s'] * 1e6:.0f} us with {workers} workers, {found['few_s'] * 1e6:.0f} us with {FEW} "
              f"({found['many_s'] / found['few_s']:.2f} x, budget: 1.3)")


if __name__ == "__main__":
    main()
