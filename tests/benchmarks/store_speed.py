"""The stores by themselves, without Ray: rates, the time to open a backlog, and what a job costs at 10,000 and at 1,000,000 others.

    make bench        or        python -m tests.benchmarks.store_speed
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from honeydew_ray import lifecycle
from honeydew_ray.job import JobRecord
from honeydew_ray.stores.base import Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

NOW = 1_700_000_000.0
BATCH = 500


def jobs(first: int, count: int) -> list[JobRecord]:
    blank = (make_job(f"{number:020d}", args=[number]) for number in range(first, first + count))
    return [lifecycle.enqueued(job, "test", NOW) for job in blank]


def fill(store: StoreDriver, first: int, count: int) -> float:
    """Seconds to enqueue so many jobs in batches, making them not counted."""
    seconds = 0.0
    for start in range(first, first + count, BATCH):
        batch = jobs(start, BATCH)
        began = time.perf_counter()
        store.enqueue(*batch)
        seconds += time.perf_counter() - began
    return seconds


def cost(store: StoreDriver, first: int) -> tuple[float, float]:
    """Seconds a job to enqueue one and to reserve one, medians over 20 batches."""
    enqueues: list[float] = []
    reserves: list[float] = []
    for turn in range(20):
        enqueues.append(fill(store, first + turn * BATCH, BATCH) / BATCH)
        began = time.perf_counter()
        claimed = store.claim(BATCH, NOW)
        reserves.append((time.perf_counter() - began) / BATCH)
        store.nack(*(lifecycle.gave_back(job, NOW) for job in claimed))
    return statistics.median(enqueues), statistics.median(reserves)


def memory_kib() -> int:
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1])


def measure(name: str, make: Callable[[Path], Store]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        gc.freeze()
        before = memory_kib()
        store = StoreDriver(make(Path(folder)))
        rate = 10_000 / fill(store, 0, 10_000)
        few = cost(store, 10_000)
        fill(store, 20_000, 980_000)
        used = (memory_kib() - before) * 1024 / 1_000_000
        many = cost(store, 1_000_000)
        print(f"{name:<8} enqueue, batches of {BATCH}: {rate:>9,.0f} jobs/s   {used:.0f} bytes a job queued, ids and arguments included")
        for what, at_few, at_many in zip(("enqueue", "reserve"), few, many, strict=True):
            met = "met" if at_many / at_few <= 1.5 else "MISSED"
            print(f"{name:<8} {what} at 1,000,000 / at 10,000: {at_many / at_few:5.2f} x   budget <= 1.5 {met}   "
                  f"({at_many * 1e6:.1f} against {at_few * 1e6:.1f} us)", flush=True)
        store.close()


def measure_opening() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        with StoreDriver(SQLiteStore(path)) as store:
            fill(store, 0, 100_000)
        began = time.perf_counter()
        store = StoreDriver(SQLiteStore(path))
        seconds = time.perf_counter() - began
        assert store.counts().pending == 100_000
        store.close()
        verdict = "met" if seconds <= 3 else "MISSED"
        print(f"sqlite   open a file with 100,000 pending jobs: {seconds:.2f} s   budget <= 3 {verdict}", flush=True)


if __name__ == "__main__":
    measure_opening()
    measure("memory", lambda folder: MemoryStore())
    measure("sqlite", lambda folder: SQLiteStore(folder / "jobs.db"))
