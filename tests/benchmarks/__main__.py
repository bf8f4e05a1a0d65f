"""Honeydew against bare Ray, in one run on one machine: ratios, because absolute times mean little elsewhere.

    make bench        or        python -m tests.benchmarks [--quick]

Each figure is the median over rounds in which Honeydew and its baseline take turns. The raw rounds go,
as JSON lines, to ``tests/benchmarks/out/rounds.jsonl``, and a picture of the ratios beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import ray

import honeydew_ray as honeydew
from tests.benchmarks import measures
from tests.benchmarks.report import draw, print_table
from tests.benchmarks.workers import WORKERS, BareDispatcher, Echo

OUT = Path(__file__).parent / "out"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    rounds, kills = (3, 3) if quick else (7, 15)
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    machine = (f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, Ray {ray.__version__}, "
               f"honeydew-ray {honeydew.__version__}")
    print(machine)
    bare_class: Any = ray.remote(num_cpus=0)(Echo)
    bare_workers = [bare_class.remote() for _ in range(WORKERS)]
    quiet_class: Any = ray.remote(num_cpus=0, enable_task_events=False)(Echo)
    quiet_workers = [quiet_class.remote() for _ in range(WORKERS)]
    bare: Any = ray.remote(num_cpus=0, enable_task_events=False)(BareDispatcher).remote(quiet_workers)
    queue, auto = start("bench", honeydew.MemoryStore()), start("bench-auto", honeydew.MemoryStore(), prefetch="auto")
    rows = {
        "throughput": measures.throughput(queue, bare, 1500, rounds),
        "prefetched": measures.prefetched(auto, bare_workers, 12_000, rounds),
        "latency": measures.latency(queue, quiet_workers[0], 300, rounds),
        "recovery": measures.recovery(queue, kills),
        "payload": measures.payloads(queue, bare_workers[0], 20, rounds),
        "others": measures.others(auto, bare_workers, 1000, rounds),
        "backlog": measures.backlog(auto, 6000, 20_000, rounds),
    }
    with tempfile.TemporaryDirectory() as folder:
        durable = start("bench-durable", honeydew.SQLiteStore(Path(folder) / "bench.db"))
        rows["durable_throughput"] = measures.durable_throughput(durable, queue, 1500, rounds)
        rows["enqueue_memory"] = measures.enqueue_rate(queue, 20_000, rounds)
        rows["enqueue_sqlite"] = measures.enqueue_rate(durable, 20_000, rounds)
        durable.stop()
    queue.stop()
    auto.stop()
    ray.shutdown()
    OUT.mkdir(exist_ok=True)
    lines = [json.dumps({"benchmark": name, "machine": machine, **row}) + "\n" for name, found in rows.items() for row in found]
    (OUT / "rounds.jsonl").write_text("".join(lines))
    draw(print_table(rows, kills), machine, OUT / "ratios.png")


def start(name: str, store: honeydew.Store, **options: Any) -> honeydew.Queue:
    queue = honeydew.start_queue(name, store=store, failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Echo, num=WORKERS, **options)
    queue.wait_for_workers(WORKERS)
    return queue


if __name__ == "__main__":
    main()
