"""Run a failed job again, each time after a longer wait."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

from honeydew_ray.arguments import expect_at_least, expect_count, expect_seconds, refuse
from honeydew_ray.decisions import Decision, Requeue
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.failure_modes.retry import expect_failure_mode
from honeydew_ray.job import JobRecord


@dataclass(frozen=True)
class ExponentialRetry(FailureMode):
    """A failed job runs again at most ``times`` times, after growing waits; then ``finally_`` decides.

    The wait before retry n + 1 is ``base ** n - 1`` seconds: with base 2 that is 0, 1, 3, 7 and so
    on, but never more than ``max_delay_s`` (an hour unless told otherwise). ``jitter``, a fraction
    from 0 to 1, spreads jobs that failed together: a wait is multiplied by a factor between
    ``1 - jitter`` and ``1 + jitter``. The factor comes from a hash of the job's id and its number
    of failures, so the same failure of the same job always gets the same wait.

    >>> from honeydew_ray.testing.jobs import make_job
    >>> failure = Failure("timeout", "TimeoutError", "no answer")
    >>> [ExponentialRetry(5).decide(make_job(failures=n), failure).delay_s for n in range(4)]
    [0.0, 1.0, 3.0, 7.0]
    """

    times: int
    base: float = field(default=2, kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    max_delay_s: float = field(default=3600.0, kw_only=True)
    finally_: FailureMode = field(default=Abandon(), kw_only=True)

    def __post_init__(self) -> None:
        expect_count("ExponentialRetry", "times", self.times)
        expect_at_least("ExponentialRetry", "base", self.base, 1)
        expect_at_least("ExponentialRetry", "jitter", self.jitter, 0)
        if self.jitter > 1:
            raise refuse("ExponentialRetry", "jitter", self.jitter, "a fraction from 0 to 1", "jitter=0.1")
        expect_seconds("ExponentialRetry", "max_delay_s", self.max_delay_s)
        expect_failure_mode("ExponentialRetry", "finally_", self.finally_)

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        if job.failures >= self.times:
            return self.finally_.decide(job, failure)
        wait = self._backoff(job.failures) * self._factor(job)
        return Requeue(min(wait, self.max_delay_s), job.private)

    def _backoff(self, failures: int) -> float:
        """``base ** failures - 1``, or the longest wait if that is less; a large power is never computed."""
        if self.base > 1 and failures >= math.log1p(self.max_delay_s) / math.log(self.base):
            return float(self.max_delay_s)
        return min(float(self.base**failures - 1), float(self.max_delay_s))

    def _factor(self, job: JobRecord) -> float:
        """Uniform over jobs and failures, and fixed for each."""
        digest = hashlib.blake2b(f"{job.id!r} {job.failures}".encode(), digest_size=8).digest()
        fraction = int.from_bytes(digest, "big") / 2**64
        return 1 + self.jitter * (2 * fraction - 1)
