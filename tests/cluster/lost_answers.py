"""A script of a test: a Ray that drops some calls between actors, and some answers; all jobs end, and each start is accounted for."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

DROPPED = {"num_failures": 4, "req_failure_prob": 15, "resp_failure_prob": 15, "in_flight_failure_prob": 5}  # in each process
os.environ.update(RAY_testing_rpc_failure=json.dumps({"CoreWorkerService.grpc_client.PushTask": DROPPED}))

import honeydew_ray as honeydew  # noqa: E402
from honeydew_ray.actors import cluster  # noqa: E402
from tests.cluster.crew import Crew  # noqa: E402

JOBS = 40


def main(folder: Path) -> None:
    cluster.connect("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    journal = folder / "journal"
    queue = honeydew.start_queue("lossy", store=honeydew.SQLiteStore(folder / "lossy.db"))  # Abandon: a lost answer is no failure
    queue.start_workers(Crew, num=2)
    jobs = [queue.options(job_id=f"job-{number}").submit("log", str(journal), number) for number in range(JOBS)]
    for job in jobs:
        job.result(timeout=60)
    runs = Counter(int(line) for line in journal.read_text().split())
    redelivered = sum(job.attempts - 1 for job in jobs)
    again = sum(runs.values()) - JOBS
    print("all done", set(runs) == set(range(JOBS)), "runs within attempts", all(runs[n] <= jobs[n].attempts for n in range(JOBS)))
    print("some were lost", redelivered > 0, "and", again, "ran again of", redelivered, "redelivered")
    queue.stop()
    cluster.disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
