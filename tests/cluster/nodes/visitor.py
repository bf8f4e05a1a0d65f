"""A script of a test: a second driver, which brings workers and jobs to a queue and leaves at once."""

from __future__ import annotations

import sys

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster


class Sleeper:
    """As fast as the other workers, by another class."""

    def sleep(self, seconds: float) -> None:
        import time

        time.sleep(seconds)


if __name__ == "__main__":
    cluster.connect(sys.argv[1], log_to_driver=False)
    queue = honeydew.get_queue(sys.argv[2])
    queue.start_workers(Sleeper, num=1, nodes=[sys.argv[3]], group="visitor")
    jobs = [queue.submit("sleep", 0.2) for _ in range(20)]
    print(*(job.id for job in jobs))
