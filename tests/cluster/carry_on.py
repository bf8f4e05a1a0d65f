"""Half of a test, run as a script twice, each time with a Ray of its own: the second run carries on from the first one's file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster


class Holder:
    """Holds its job until the file that it is given exists."""

    def hold(self, started: str, finish: str) -> str:
        with Path(started).open("a") as file:
            file.write("started\n")
        while not Path(finish).exists():
            time.sleep(0.01)
        return "held"

    def give(self, value: int) -> int:
        return value


def first(queue: honeydew.Queue, folder: Path) -> None:
    """Leave a job in progress, some pending, one delayed, and the queue suspended; the caller then kills all of Ray."""
    queue.start_workers(Holder, num=1)
    queue.options(job_id="running").submit("hold", str(folder / "started"), str(folder / "finish"))
    while not (folder / "started").exists():
        time.sleep(0.01)
    queue.suspend()
    for number in range(3):
        queue.options(job_id=f"pending-{number}", priority=number).submit("give", number)
    queue.options(job_id="delayed", delay_s=3600).submit("give", 9)


def second(queue: honeydew.Queue, folder: Path) -> None:
    """Say what is there, then finish it."""
    while (status := queue.status()).in_progress:  # until it is clear that no worker holds the job
        time.sleep(0.01)
    print("suspended", status.suspended, "pending", status.pending, "delayed", status.delayed)
    print("line", *(job.id for job in queue.filter(state="pending")))
    print("redelivered", queue.job("running").attempts)
    (folder / "finish").touch()
    queue.start_workers(Holder, num=1)
    queue.resume()
    print("results", *(queue.job(job_id).result(timeout=60) for job_id in ("running", "pending-0", "pending-1", "pending-2")))
    print("attempts", queue.job("running").attempts)


if __name__ == "__main__":
    cluster.connect("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    place = Path(sys.argv[2])
    half = {"first": first, "second": second}[sys.argv[1]]
    half(honeydew.start_queue("carried", store=honeydew.SQLiteStore(place / "carried.db")), place)
