"""The contract of failure modes, on ours and on one that a user might write."""

from __future__ import annotations

from dataclasses import dataclass

from honeydew_ray.decisions import Discard, MoveTo, Requeue
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.failure_modes.exponential_retry import ExponentialRetry
from honeydew_ray.failure_modes.move import Move
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.testing import FailureModeContract


class TestAbandon(FailureModeContract):
    def make_mode(self):
        return Abandon()


class TestMove(FailureModeContract):
    def make_mode(self):
        return Move("dead_letters")


class TestRetry(FailureModeContract):
    def make_mode(self):
        return Retry(times=3, delay_s=0.5, finally_=Move("dead_letters"))


class TestRetryWithFunction(FailureModeContract):
    def make_mode(self):
        return Retry(fun=lambda job, failure, mode: Requeue(1.0, (job.private or 0) + 1) if (job.private or 0) < 5 else None)


class TestExponentialRetry(FailureModeContract):
    def make_mode(self):
        return ExponentialRetry(10**12, jitter=0.5)


@dataclass(frozen=True)
class ByKind(FailureMode):
    """Retries what a worker's death did, sets aside what was too slow, gives up the rest."""

    slow_queue: str

    def decide(self, job, failure):
        if failure.kind == "timeout":
            return MoveTo(self.slow_queue)
        if failure.kind == "exception":
            return Discard()
        return Requeue(delay_s=1.0, private={"seen": [*(job.private or {}).get("seen", []), failure.kind]})


class TestByKind(FailureModeContract):
    def make_mode(self):
        return ByKind("slow")
