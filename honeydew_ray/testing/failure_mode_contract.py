"""The contract of a failure mode, as tests."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.decisions import Decision, Discard, MoveTo, Requeue
from honeydew_ray.failure import Failure, FailureKind
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobRecord
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.sent import sent

KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
NOW = 1_700_000_000.0


class FailureModeContract:
    """Subclass it in a test module, say how to make your failure mode, and run pytest::

        class TestMyMode(FailureModeContract):
            def make_mode(self):
                return MyMode()

    It checks that a mode is what a queue takes it for: a pure function from a job and a failure to
    a decision, that can be sent to the queue's process.
    """

    def make_mode(self) -> FailureMode:
        """A new failure mode."""
        raise NotImplementedError(f"{type(self).__name__}.make_mode(self) must return a new failure mode")

    @pytest.fixture
    def mode(self) -> FailureMode:
        return self.make_mode()

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_decides_about_every_kind_of_failure(self, mode: FailureMode, kind: FailureKind) -> None:
        expect_decision(mode.decide(failed_job(), Failure(kind, "Error", "text")))

    @pytest.mark.parametrize("failures", [0, 1, 2, 3, 10, 100, 10_000, 10**9])
    def test_it_decides_whatever_number_of_failures_went_before(self, mode: FailureMode, failures: int) -> None:
        expect_decision(mode.decide(failed_job(failures=failures), failure()))

    def test_it_decides_about_a_failure_without_text(self, mode: FailureMode) -> None:
        expect_decision(mode.decide(failed_job(), Failure("exception", "", "")))

    def test_the_same_job_and_failure_get_the_same_answer(self, mode: FailureMode) -> None:
        for failures in range(5):
            job = failed_job(failures=failures)
            first = mode.decide(job, failure())
            mode.decide(failed_job(failures=9 - failures), failure())  # about another job, in between
            assert mode.decide(job, failure()) == first

    def test_it_decides_the_same_in_the_process_of_its_queue(self, mode: FailureMode) -> None:
        copy = sent(mode)
        for failures in range(5):
            job = failed_job(failures=failures)
            assert copy.decide(job, failure()) == mode.decide(job, failure())

    def test_it_can_follow_its_own_decisions(self, mode: FailureMode) -> None:
        """What it noted on the job comes back to it, pickled and loaded, at the next failure."""
        job = failed_job()
        for _ in range(50):
            decision = mode.decide(job, failure())
            expect_decision(decision)
            if not isinstance(decision, Requeue):
                return
            private = sent(decision.private)
            waiting = lifecycle.retried(job, failure(), NOW, decision.delay_s, private)
            job = lifecycle.claimed(waiting, "incarnation", NOW)

    def test_it_leaves_its_own_note_on_the_job_alone(self, mode: FailureMode) -> None:
        """A new note is a new value: the old one is part of the job as it was."""
        first = mode.decide(failed_job(), failure())
        job = failed_job(failures=1, private=first.private if isinstance(first, Requeue) else None)
        before = sent(job)
        mode.decide(job, failure())
        assert job == before

    def test_it_can_be_shown(self, mode: FailureMode) -> None:
        assert type(mode).__name__ in repr(mode), "repr() is what status and logs show of a mode"


def failed_job(job_id: str = "job", failures: int = 0, **facts: Any) -> JobRecord:
    """A job whose attempt in progress has just failed, after some earlier failures."""
    job = make_job(job_id, failures=failures, attempt=failures, enqueued_at=NOW, due_at=NOW, **facts)
    return lifecycle.claimed(job, "incarnation", NOW)


def failure() -> Failure:
    """An exception that a job raised."""
    return Failure.from_exception(ValueError("bad photo")).of_attempt(1, "node")


def expect_decision(decision: Decision) -> None:
    """Refuse anything that a queue cannot apply."""
    assert isinstance(decision, (Discard, Requeue, MoveTo)), f"decide returned {decision!r}, expected Discard(), Requeue() or MoveTo()"
