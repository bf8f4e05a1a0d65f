"""From a verdict to the job's next record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.decisions import Decision, Discard, MoveTo, Requeue
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.judge import Judge
from honeydew_ray.monitor import CalledOff, Failed, Interrupted, Succeeded, Unharmed
from honeydew_ray.payload import Payload
from honeydew_ray.policies import InlineCaller
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.virtual_time import run_virtual

NOW = 1000.0
BOOM = Failure("exception", "ValueError", "boom", "Traceback: boom")
LOST = Failure("node_lost", "NodeLost", "gone", node="n1")


class FixedClock:
    def now(self) -> float:
        return NOW


class Elsewhere:
    """The way to other queues."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[tuple[str, JobRecord]] = []

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        if self.error is not None:
            raise self.error
        self.sent += [(queue, job) for job in jobs]


class Decides(FailureMode):
    def __init__(self, decision: Any) -> None:
        self.decision = decision
        self.asked = 0

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        self.asked += 1
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision


def running(**facts: Any) -> JobRecord:
    return lifecycle.claimed(make_job("a", queue="q", seq=7, **facts), "i.1", NOW - 5)


def judged(verdict: Any, decision: Any = None, elsewhere: Elsewhere | None = None, max_redeliveries: int = 20, **facts: Any) -> JobRecord:
    judge = Judge(Decides(decision), elsewhere or Elsewhere(), InlineCaller(), FixedClock(), max_redeliveries)  # type: ignore[arg-type]
    return run_virtual(judge.judge(running(**facts), verdict))


def test_a_success_keeps_the_result_and_the_time() -> None:
    job = judged(Succeeded(Payload(b"x")))
    assert (job.state, job.result, job.completed_at, job.attempts) == (JobState.DONE, Payload(b"x"), NOW, 1)


def test_an_unharmed_job_goes_back_as_it_was() -> None:
    job = judged(Unharmed(), failures=2, redeliveries=3)
    assert (job.state, job.seq, job.failures, job.redeliveries, job.started_at) == (JobState.PENDING, 7, 2, 3, None)


def test_a_job_called_off_is_cancelled() -> None:
    assert judged(CalledOff()).state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("had", "state"),
    [(0, JobState.PENDING), (19, JobState.PENDING), (20, JobState.ABANDONED), (25, JobState.ABANDONED)],
)
def test_an_interrupted_job_is_redelivered_up_to_the_cap(had: int, state: JobState) -> None:
    job = judged(Interrupted(LOST), Discard(), redeliveries=had)
    assert job.state is state
    assert job.redeliveries == had + (state is JobState.PENDING)
    assert job.failures == (state is JobState.ABANDONED)
    assert job.last_error is not None
    assert job.last_error.kind == ("node_lost" if state is JobState.PENDING else "poison")


def test_a_poison_job_may_be_saved_by_the_failure_mode() -> None:
    job = judged(Interrupted(LOST), Requeue(60.0), redeliveries=20)
    assert job.state is JobState.DELAYED
    assert job.last_error is not None
    assert (job.last_error.kind, job.last_error.attempt, job.last_error.node) == ("poison", 1, "n1")


def test_a_requeue_goes_to_the_end_of_the_line_with_its_note() -> None:
    job = judged(Failed(BOOM), Requeue(private={"tries": 1}))
    assert (job.state, job.seq, job.failures, job.private, job.last_error) == (JobState.PENDING, 0, 1, {"tries": 1}, BOOM)
    assert judged(Failed(BOOM), Requeue(30.0)).due_at == NOW + 30


def test_a_discard_goes_to_the_dead_list() -> None:
    job = judged(Failed(BOOM), Discard())
    assert (job.state, job.failures, job.last_error, job.completed_at) == (JobState.ABANDONED, 1, BOOM, NOW)


def test_a_move_is_enqueued_there_before_it_counts_here() -> None:
    elsewhere = Elsewhere()
    job = judged(Failed(BOOM), MoveTo("other"), elsewhere)
    assert (job.state, job.moved_to, job.last_error) == (JobState.MOVED, "other", BOOM)
    (queue, sent), = elsewhere.sent
    assert (queue, sent.id, sent.queue, sent.state, sent.failures, sent.last_error) == ("other", "a", "other", JobState.PENDING, 0, BOOM)


@pytest.mark.parametrize(
    ("decision", "error", "trace"),
    [
        (KeyError("rule"), None, "KeyError: 'rule'"),
        (TimeoutError("did not return"), None, "did not return"),
        (None, None, "decide returned None"),
        (42, None, "decide returned 42"),
        (MoveTo("other"), QueueNotFound("no queue 'other'"), "no queue 'other'"),
        (MoveTo("other"), RuntimeError("bug"), "bug"),
        (MoveTo("q"), None, "move a failed job to itself"),
    ],
)
def test_whatever_goes_wrong_the_job_is_in_the_dead_list_with_both_errors(decision: Any, error: Exception | None, trace: str) -> None:
    elsewhere = Elsewhere(error)
    job = judged(Failed(BOOM), decision, elsewhere)
    assert (job.state, elsewhere.sent) == (JobState.ABANDONED, [])
    assert job.last_error is not None
    assert "boom" in job.last_error.message
    assert trace in job.last_error.message
    assert "Traceback: boom" in job.last_error.traceback
    assert trace in job.last_error.traceback


def test_a_success_and_a_redelivery_do_not_ask_the_failure_mode() -> None:
    mode = Decides(KeyError("asked"))
    judge = Judge(mode, Elsewhere(), InlineCaller(), FixedClock(), 20)  # type: ignore[arg-type]
    for verdict in (Succeeded(None), Unharmed(), CalledOff(), Interrupted(LOST)):
        run_virtual(judge.judge(running(), verdict))
    assert mode.asked == 0
