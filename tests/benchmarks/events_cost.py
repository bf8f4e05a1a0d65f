"""What a queue's events cost it: kept or not, with no reader, and with one of each sort.

    python -m tests.benchmarks.events_cost [--rounds 5]

Jobs a second of strict dispatch and of `submit_many`, in turns, as ratios to a queue that keeps no events; the processor time
that the queue's process takes for the former; and that of one event by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster
from honeydew_ray.clock import SystemClock
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.event_log import EventLog
from honeydew_ray.job import JobRecord
from honeydew_ray.payload import Payload

JOBS = 1000
BULK = 20_000


class Echo:
    """A worker that does nothing."""

    def echo(self, value: Any) -> Any:
        return value


class Counting(honeydew.Subscriber):
    """A subscriber that counts."""

    def __init__(self) -> None:
        self.count = 0

    def received(self, events: Sequence[honeydew.Event], missed: int) -> None:
        self.count += len(events)


def one_event() -> float:
    """Microseconds of processor time to tell one event that nobody reads."""
    log = EventLog("q", SystemClock())
    job = JobRecord("a" * 20, "q", "echo", Payload(b""), started_at=1.0)
    worker = WorkerRef("q/default/0-1", "n" * 56)

    async def tell() -> float:
        began = time.process_time()
        for _ in range(100_000):
            log.started(job, worker)
        return (time.process_time() - began) * 10

    return asyncio.run(tell())


def strict(queue: honeydew.Queue) -> float:
    """Jobs a second, results collected."""
    began = time.perf_counter()
    for job in queue.submit_many("echo", range(JOBS)):
        job.result()
    return JOBS / (time.perf_counter() - began)


def processor_s(queue: honeydew.Queue) -> float:
    """The processor time that the queue's process has taken so far, in seconds."""
    times = Path(f"/proc/{queue.status().pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def bulk(queue: honeydew.Queue) -> float:
    """Jobs a second into custody."""
    began = time.perf_counter()
    queue.options(reply=False, delay_s=3600).submit_many("echo", range(BULK))
    return BULK / (time.perf_counter() - began)


def read_all(queue: honeydew.Queue) -> None:
    """Read every event, until the queue is gone."""
    try:
        for _ in queue.events():
            pass
    except honeydew.HoneydewError:
        return


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"one event that nobody reads: {one_event():.2f} us of processor time")
    cluster.connect("local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    options: dict[str, dict[str, Any]] = {
        "none kept": {"events_kept": 0},
        "kept, no reader": {},
        "a subscriber in the queue": {"subscribers": [Counting()]},
        "metrics in the queue": {"subscribers": [honeydew.Metrics()]},
        "a reader in a driver": {},
    }
    queues: dict[str, honeydew.Queue] = {}
    for number, (name, chosen) in enumerate(options.items()):
        queues[name] = honeydew.start_queue(f"cost-{number}", **chosen)
        queues[name].start_workers(Echo, num=1)
        queues[name].wait_for_workers(1)
        strict(queues[name])
    threading.Thread(target=read_all, args=[queues["a reader in a driver"]], daemon=True).start()
    measured: dict[str, dict[str, list[float]]] = {name: {"strict": [], "bulk": []} for name in queues}
    spent: dict[str, float] = {}
    for _ in range(rounds):
        for name, queue in random.sample(list(queues.items()), len(queues)):  # in an order of chance: what comes first has an easier time
            before = processor_s(queue)
            measured[name]["strict"].append(strict(queue))
            spent[name] = spent.get(name, 0.0) + processor_s(queue) - before
            measured[name]["bulk"].append(bulk(queue))
    base = measured["none kept"]
    for name, rates in measured.items():
        shown = [f"{what} {statistics.median(found):8,.0f} jobs/s, "
                 f"{statistics.median(x / y for x, y in zip(found, base[what], strict=True)):.3f} x" for what, found in rates.items()]
        print(f"{name:28} {'; '.join(shown)}; queue's processor {spent[name] / rounds / JOBS * 1e6:.0f} us a job")
    for queue in queues.values():
        queue.stop()
    cluster.disconnect()


if __name__ == "__main__":
    main()
