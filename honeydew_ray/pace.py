"""How fast jobs run here, by method, and so how many of them may share a lease."""

from __future__ import annotations

from collections.abc import Sequence

from honeydew_ray.job import JobRecord

LEASE_S = 0.02
"""How much work a lease may carry, by what was measured."""

MOST_JOBS = 256
"""What a lease of several jobs may carry at most, however short they are."""

SHORTEST_TIMEOUT_S = 1.0
"""A job with a shorter timeout has a lease of its own: in a shared one its start is known only roughly."""

_DECAY = 0.9
_MOST_METHODS = 1000


class Pace:
    """Measured run times, each method's by itself.

    Expectations rise at once and fall slowly: a method that was slow a moment ago is taken to be
    slow. Invariant: a lease holds no more runs of a method than have been measured, so that leases
    of a method not known yet grow by doubling, and no more work than `LEASE_S` by expectation.
    """

    def __init__(self) -> None:
        self._expected: dict[str, tuple[float, int]] = {}  # by method: seconds a run, and runs measured, up to MOST_JOBS
        self._appetite = 2

    def measured(self, method: str, seconds: float) -> None:
        """A job of this method ran to its end in so many seconds."""
        expected, runs = self._expected.pop(method, (0.0, 0))
        self._expected[method] = max(seconds, expected * _DECAY + seconds * (1 - _DECAY)), min(runs + 1, MOST_JOBS)
        if len(self._expected) > _MOST_METHODS:  # functions made up at run time
            del self._expected[next(iter(self._expected))]

    def appetite(self) -> int:
        """How many jobs to claim for one worker: twice what a lease held that took all it was offered, one more than one that did not."""
        return self._appetite

    def lease_size(self, jobs: Sequence[JobRecord], most: int) -> int:
        """How many of these jobs, from the first on, may share a lease; at least 1."""
        size = self._fitting(jobs, most)
        took_all = size == min(len(jobs), most)
        self._appetite = min(max(self._appetite, size * 2) if took_all else size + 1, MOST_JOBS)
        return size

    def _fitting(self, jobs: Sequence[JobRecord], most: int) -> int:
        left = LEASE_S
        runs: dict[str, int] = {}
        for size, job in enumerate(jobs[:most]):
            seconds, known = self._expected.get(job.method, (LEASE_S, 0))
            left -= seconds
            used = runs[job.method] = runs.get(job.method, 0) + 1
            if left < 0 or used > known or not may_share(job):
                return max(size, 1)
        return max(min(len(jobs), most), 1)


def may_share(job: JobRecord) -> bool:
    """Whether a job may have company in its lease.

    One that failed, or took a worker down with it, runs by itself, so that it harms no other; one with large arguments is slow to send.
    """
    in_time = job.timeout_s is None or job.timeout_s >= SHORTEST_TIMEOUT_S
    return job.failures == 0 and job.redeliveries == 0 and in_time and not job.payload.buffers
