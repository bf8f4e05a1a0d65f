"""How fast a poll queue is, on a PostgreSQL of its own: rows drained by one queue, and a poll that finds nothing."""

from __future__ import annotations

import statistics
import sys
import time

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster
from honeydew_ray.testing import StoreDriver
from tests.sql.databases import postgres_database, stop_servers
from tests.sql.tables import Photos

DRAINED = 30_000
FINISHED = 1_000_000


class Counter:
    """The shortest of jobs."""

    def run(self, key: int) -> None:
        pass


def drain(rows: int) -> float:
    """Rows a second, from the insert of them all to the last one done with."""
    with postgres_database() as url, Photos(url, "photos") as photos:
        queue = honeydew.start_queue("photos", store=photos.store())
        queue.start_workers(Counter, num=2, prefetch="auto")
        queue.wait_for_workers(2)
        rates: list[float] = []
        for turn in range(3):
            began = time.perf_counter()
            photos.run(f"INSERT INTO photos (id) SELECT generate_series({turn * rows + 1}, {turn * rows + rows})")
            while photos.run("SELECT EXISTS (SELECT 1 FROM photos WHERE honeydew_photos_lock IS NOT NULL)") != [(False,)]:
                time.sleep(0.02)
            rates.append(rows / (time.perf_counter() - began))
        queue.stop()
        return statistics.median(rates)


def poll_ms(finished: int) -> tuple[float, float]:
    """The median and the slowest of 200 polls of a table in which nothing waits, in milliseconds."""
    with postgres_database() as url, Photos(url) as photos:
        photos.run(f"INSERT INTO photos (id, honeydew_test_lock) SELECT generate_series(1, {finished}), NULL")
        photos.run("ANALYZE photos")
        with StoreDriver(photos.store()) as store:
            times: list[float] = []
            for _ in range(200):
                began = time.perf_counter()
                assert store.claim(100, time.time()) == []
                times.append(1000 * (time.perf_counter() - began))
        return statistics.median(times), max(times)


def main() -> None:
    median, slowest = poll_ms(FINISHED)
    print(f"a poll of a table of {FINISHED:,} finished rows: {median:.2f} ms, the slowest of 200 {slowest:.2f} ms (<= 5 ms)")
    cluster.connect("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    rate = drain(DRAINED)
    cluster.disconnect()
    stop_servers()
    print(f"{DRAINED:,} rows drained by one queue of two workers, prefetch=\"auto\": {rate:,.0f} rows/s (>= 3,000)")
    sys.exit(median > 5 or rate < 3000)


if __name__ == "__main__":
    main()
