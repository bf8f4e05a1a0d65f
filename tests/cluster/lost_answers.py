"""A script of a test: a Ray that drops some calls between actors, and some answers; all jobs end, and each start is accounted for."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

DROPPED = {"num_failures": 1000, "req_failure_prob": 5, "resp_failure_prob": 5, "in_flight_failure_prob": 2}  # per cent
os.environ.update(RAY_testing_rpc_failure=json.dumps({"CoreWorkerService.grpc_client.PushTask": DROPPED}))

import ray  # noqa: E402
from ray.exceptions import ActorUnavailableError  # noqa: E402

import honeydew_ray as honeydew  # noqa: E402
from honeydew_ray.actors import cluster  # noqa: E402
from tests.cluster.crew import Crew  # noqa: E402

JOBS = 30


class Echo:
    """Answers, if it is asked and its answer arrives."""

    def echo(self) -> None: ...


def dropped() -> int:
    """How many of some calls to an actor fail in this Ray."""
    actor, failed = ray.remote(Echo).options(num_cpus=0).remote(), 0  # pyright: ignore
    for _ in range(60):
        try:
            ray.get(actor.echo.remote())
        except ActorUnavailableError:
            failed += 1
    return failed


def main(folder: Path) -> None:
    cluster.connect("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    journal = folder / "journal"
    queue = honeydew.start_queue("lossy", store=honeydew.SQLiteStore(folder / "lossy.db"))  # Abandon: a lost answer is no failure
    queue.start_workers(Crew, num=2)
    jobs = [queue.options(job_id=f"job-{number}").submit("log", str(journal), number) for number in range(JOBS)]
    for job in jobs:
        job.result(timeout=60)
    runs = Counter(int(line) for line in journal.read_text().split())
    print("all done", set(runs) == set(range(JOBS)), "runs within attempts", all(runs[n] <= jobs[n].attempts for n in range(JOBS)))
    print("calls are dropped", dropped() > 0)
    queue.stop()
    cluster.disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
