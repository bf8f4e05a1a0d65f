"""Run a failed job again, a number of times or as a function says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from honeydew_ray.arguments import expect_count, expect_seconds, refuse, refuse_type
from honeydew_ray.decisions import Decision, Requeue
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobRecord

RetryFunction = Callable[[JobRecord, Failure, "Retry"], "Requeue | None"]
"""Looks at a job, its failure and the mode; returns `Requeue`, or None to halt."""

_FUN_EXAMPLE = "fun=lambda job, failure, mode: Requeue(delay_s=5) if failure.kind == 'timeout' else None"


@dataclass(frozen=True)
class Retry(FailureMode):
    """A failed job runs again, ``delay_s`` seconds later, at most ``times`` times; then ``finally_`` decides.

    So the job's own failures make it start at most ``times + 1`` times; redeliveries do not count.
    With ``fun``, that function decides instead: it returns `Requeue`, with a delay and a note of its
    own, or None to halt, which leaves the job to ``finally_``. ``times`` bounds it if given.
    ``finally_`` counts the same failures: it is asked with the job and failure as they are.

    >>> from honeydew_ray import Move
    >>> from honeydew_ray.testing.jobs import make_job
    >>> mode = Retry(times=3, delay_s=5, finally_=Move("dead_letters"))
    >>> failure = Failure("exception", "OSError", "the disk is full")
    >>> mode.decide(make_job(failures=2), failure)
    Requeue(delay_s=5, private=None)
    >>> mode.decide(make_job(failures=3), failure)
    MoveTo(queue='dead_letters')
    """

    times: int | None = None
    fun: RetryFunction | None = field(default=None, kw_only=True)
    finally_: FailureMode = field(default=Abandon(), kw_only=True)
    delay_s: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.times is None and self.fun is None:
            raise refuse("Retry", "times", None, "a number of retries, or fun=, a function that decides", "times=3")
        if self.times is not None:
            expect_count("Retry", "times", self.times)
        if self.fun is not None:
            expect_retry_function(self.fun)
        expect_failure_mode("Retry", "finally_", self.finally_)
        expect_seconds("Retry", "delay_s", self.delay_s)

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        if self.times is not None and job.failures >= self.times:
            return self.finally_.decide(job, failure)
        if self.fun is None:
            return Requeue(self.delay_s, job.private)
        answer = _expect_answer(self.fun(job, failure, self))
        return self.finally_.decide(job, failure) if answer is None else answer


def _expect_answer(answer: object) -> Requeue | None:
    if answer is None or isinstance(answer, Requeue):
        return answer
    raise refuse_type("Retry", "the answer of fun", answer, "Requeue(delay_s, private), or None to halt", _FUN_EXAMPLE)


def expect_failure_mode(where: str, what: str, value: object) -> None:
    """Refuse anything but an instance of a failure mode."""
    if not isinstance(value, FailureMode):
        raise refuse_type(where, what, value, "an instance of a failure mode", f"{what}=Abandon()")


def expect_retry_function(fun: object) -> None:
    """Refuse anything but a plain function of a job, a failure and a mode."""
    expected = "a function of three arguments: job, failure, mode"
    if not callable(fun):
        raise refuse_type("Retry", "fun", fun, expected, _FUN_EXAMPLE)
    if inspect.iscoroutinefunction(fun):
        raise refuse_type("Retry", "fun", fun, f"{expected}, and not async", _FUN_EXAMPLE)
    try:
        signature = inspect.signature(fun)
    except ValueError:  # some built-in functions do not tell theirs
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise refuse_type("Retry", "fun", fun, f"{expected}; it takes {signature}", _FUN_EXAMPLE) from error
