"""A script of a test: a second driver, which brings workers and jobs to a queue and leaves at once."""

from __future__ import annotations

import sys

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster


class Visitor:
    """Runs what the other workers run, by another class."""

    def wait_for(self, gate: str) -> None:
        import time
        from pathlib import Path

        while not Path(gate).exists():
            time.sleep(0.02)


if __name__ == "__main__":
    cluster.connect(sys.argv[1], log_to_driver=False)
    queue = honeydew.get_queue(sys.argv[2])
    queue.start_workers(Visitor, num=1, nodes=[sys.argv[3]], group="visitor")
    jobs = [queue.submit("wait_for", sys.argv[4]) for _ in range(20)]
    print(*(job.id for job in jobs))
