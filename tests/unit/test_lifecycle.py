"""Every step of a job, from every state."""

from __future__ import annotations

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.errors import HoneydewError, InvalidTransition
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobState, Token
from honeydew_ray.payload import Payload
from honeydew_ray.testing import make_job

NOW = 1_700_000_000.0
FAILURE = Failure("exception", "ValueError", "bad photo")
LOST = Failure("node_lost", "NodeDied", "gone")
RESULT = Payload(b"result")

D, P, R = JobState.DELAYED, JobState.PENDING, JobState.IN_PROGRESS
DONE, ABANDONED, MOVED, CANCELLED = JobState.DONE, JobState.ABANDONED, JobState.MOVED, JobState.CANCELLED

# Each step, the states it may start from, and the state it leads to.
STEPS = {
    "enqueued": (lambda job: lifecycle.enqueued(job, "q", NOW), {D, P}, P),
    "enqueued with a delay": (lambda job: lifecycle.enqueued(job, "q", NOW, 5), {D, P}, D),
    "arrived": (lambda job: lifecycle.arrived(job, "q", NOW), {D, P, R}, P),
    "became_due": (lifecycle.became_due, {D}, P),
    "claimed": (lambda job: lifecycle.claimed(job, "inc", NOW), {D, P, ABANDONED}, R),
    "succeeded": (lambda job: lifecycle.succeeded(job, NOW, RESULT), {R}, DONE),
    "retried": (lambda job: lifecycle.retried(job, FAILURE, NOW, 0, None), {R}, P),
    "retried later": (lambda job: lifecycle.retried(job, FAILURE, NOW, 5, None), {R}, D),
    "redelivered": (lambda job: lifecycle.redelivered(job, LOST), {R}, P),
    "gave_back": (lambda job: lifecycle.gave_back(job, NOW), {R}, P),
    "revived": (lambda job: lifecycle.revived(job, NOW), {R}, P),
    "abandoned": (lambda job: lifecycle.abandoned(job, FAILURE, NOW), {R}, ABANDONED),
    "moved": (lambda job: lifecycle.moved(job, "other", NOW), {D, P, R}, MOVED),
    "cancelled": (lambda job: lifecycle.cancelled(job, NOW), {D, P, R}, CANCELLED),
}


@pytest.mark.parametrize("state", JobState, ids=str)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_allowed_or_refused(step, state):
    take, allowed, after = STEPS[step]
    job = make_job("a", state=state, due_at=NOW)
    if state in allowed:
        assert take(job).state is after
    else:
        refusal = f"cannot be {step.split()[0]}: that takes a job that is {' or '.join(sorted(allowed))}$"
        with pytest.raises(InvalidTransition, match=f"job a is {state} and {refusal}"):
            take(job)
    assert job == make_job("a", state=state, due_at=NOW), "a step makes a new record and leaves the old one"


def test_every_step_is_in_the_table():
    public = {name for name, value in vars(lifecycle).items() if callable(value) and getattr(value, "__module__", "") == lifecycle.__name__}
    steps = {name for name in public if not name.startswith("_")}
    assert steps == {step.split()[0] for step in STEPS}


def test_a_wrong_step_is_an_error_of_ours():
    assert issubclass(InvalidTransition, HoneydewError)


def test_nobody_assigns_a_state():
    with pytest.raises(AttributeError):
        make_job().state = JobState.DONE


def changed(before: JobRecord, after: JobRecord) -> dict[str, object]:
    """The fields in which two records differ, as they are after."""
    names = JobRecord._fields
    return {name: getattr(after, name) for name in names if getattr(before, name) != getattr(after, name)}


def running(**facts):
    return make_job("a", **({"state": R, "attempt": 2, "incarnation": "inc", "started_at": NOW, "seq": 7, "enqueued_at": NOW} | facts))


class TestWhatAStepChanges:
    def test_enqueued(self):
        assert changed(make_job("a"), lifecycle.enqueued(make_job("a"), "q", NOW)) == {"queue": "q", "enqueued_at": NOW, "due_at": NOW}
        later = lifecycle.enqueued(make_job("a"), "q", NOW, 1.5)
        assert (later.due_at, later.enqueued_at, later.state) == (NOW + 1.5, NOW, D)

    def test_became_due(self):
        job = make_job("a", state=D, due_at=NOW)
        assert changed(job, lifecycle.became_due(job)) == {"state": P}

    def test_claimed(self):
        job = make_job("a", attempt=3, incarnation="old", seq=5)
        after = lifecycle.claimed(job, "new", NOW)
        assert changed(job, after) == {"state": R, "attempt": 4, "incarnation": "new", "started_at": NOW}
        assert after.token == Token("a", 4, "new")

    def test_succeeded(self):
        assert changed(running(), lifecycle.succeeded(running(), NOW + 1, RESULT)) == {
            "state": DONE, "completed_at": NOW + 1, "result": RESULT,
        }

    def test_retried_goes_to_the_end_of_the_line(self):
        assert changed(running(), lifecycle.retried(running(), FAILURE, NOW + 1, 5, ["note"])) == {
            "state": D, "due_at": NOW + 6, "seq": 0, "failures": 1, "private": ["note"], "last_error": FAILURE, "started_at": None,
        }

    def test_redelivered_keeps_the_place_and_the_count_of_failures(self):
        assert changed(running(), lifecycle.redelivered(running(), LOST)) == {
            "state": P, "redeliveries": 1, "last_error": LOST, "started_at": None,
        }

    def test_gave_back_counts_nothing_and_keeps_the_number_used(self):
        assert changed(running(), lifecycle.gave_back(running(), NOW)) == {"state": P, "started_at": None}

    @pytest.mark.parametrize(("now", "state"), [(NOW - 0.001, D), (NOW, P), (NOW + 0.001, P)])
    def test_gave_back_before_the_due_time_waits_on(self, now, state):
        assert lifecycle.gave_back(running(due_at=NOW), now).state is state

    def test_abandoned(self):
        assert changed(running(), lifecycle.abandoned(running(), FAILURE, NOW + 1)) == {
            "state": ABANDONED, "failures": 1, "last_error": FAILURE, "completed_at": NOW + 1,
        }

    def test_moved(self):
        assert changed(running(), lifecycle.moved(running(), "other", NOW + 1)) == {
            "state": MOVED, "moved_to": "other", "completed_at": NOW + 1,
        }
        assert changed(running(), lifecycle.moved(running(), "other", NOW + 1, FAILURE)) == {
            "state": MOVED, "moved_to": "other", "completed_at": NOW + 1, "failures": 1, "last_error": FAILURE,
        }

    def test_moved_keeps_the_error_of_an_earlier_attempt(self):
        assert lifecycle.moved(make_job("a", last_error=FAILURE), "other", NOW).last_error == FAILURE

    def test_cancelled(self):
        job = make_job("a")
        assert changed(job, lifecycle.cancelled(job, NOW)) == {"state": CANCELLED, "completed_at": NOW}

    def test_arrived_begins_anew_with_id_arguments_and_due_time_kept(self):
        job = running(
            failures=2, redeliveries=3, private="note", priority=4, timeout_s=9.0, due_at=NOW + 10, last_error=FAILURE, is_function=True,
            client="me",
        )
        after = lifecycle.arrived(job, "new", NOW + 1)
        kept = ("id", "method", "payload", "is_function", "priority", "timeout_s", "due_at", "last_error")
        assert [getattr(after, name) for name in kept] == [getattr(job, name) for name in kept]
        assert (after.state, after.queue, after.enqueued_at) == (D, "new", NOW + 1)
        assert after.client is None, "who waits for it is told that it moved, and may ask here"
        assert lifecycle.arrived(job, "new", NOW, LOST).last_error == LOST
        assert (after.seq, after.attempt, after.incarnation, after.failures, after.redeliveries) == (0, 0, "", 0, 0)
        assert (after.private, after.started_at, after.completed_at) == (None, None, None)
        assert lifecycle.arrived(job._replace(due_at=NOW), "new", NOW).state is P


class TestAttempts:
    def test_a_job_that_waits_has_not_started(self):
        assert make_job().attempts == 0

    def test_the_attempt_in_progress_counts(self):
        assert running().attempts == 1
        assert running(failures=2, redeliveries=1).attempts == 4

    def test_each_end_counts_its_attempt_once(self):
        assert lifecycle.succeeded(running(failures=2), NOW, None).attempts == 3
        assert lifecycle.abandoned(running(failures=2), FAILURE, NOW).attempts == 3
        assert lifecycle.moved(running(failures=2), "other", NOW, FAILURE).attempts == 3
        assert lifecycle.cancelled(make_job(failures=2), NOW).attempts == 2

    def test_an_attempt_that_came_back_counts_unless_it_never_started(self):
        assert lifecycle.retried(running(), FAILURE, NOW, 0, None).attempts == 1
        assert lifecycle.redelivered(running(), LOST).attempts == 1
        assert lifecycle.gave_back(running(), NOW).attempts == 0


class TestRecord:
    def test_it_shows_its_arguments_on_the_side_that_asks(self):
        job = make_job(args=(1, "b"), kwargs={"c": 3})
        assert (job.args, job.kwargs) == ((1, "b"), {"c": 3})

    def test_it_has_no_value_before_it_is_done(self):
        assert make_job().value() is None

    def test_states_read_as_plain_words(self):
        assert f"{JobState.IN_PROGRESS} {JobState.IN_PROGRESS!s}" == "in_progress in_progress"
        assert JobState("done") is JobState.DONE


def test_a_revived_job_begins_anew_but_for_its_number_of_attempts_and_its_last_error():
    before = make_job("a", state=R, attempt=4, failures=3, redeliveries=2, private="note", last_error=FAILURE, started_at=NOW, seq=7)
    after = lifecycle.revived(before, NOW + 1)
    assert (after.attempt, after.last_error) == (4, FAILURE)
    assert (after.failures, after.redeliveries, after.private, after.started_at, after.seq, after.due_at) == (0, 0, None, None, 0, NOW + 1)
    assert after.attempts == 0


def test_a_dead_job_taken_to_be_revived_has_its_counts_begun_anew_should_it_be_redelivered_instead():
    dead = make_job("a", state=JobState.ABANDONED, attempt=4, failures=3, redeliveries=2, private="note", last_error=FAILURE)
    claimed = lifecycle.claimed(dead, "i", NOW)
    assert (claimed.attempt, claimed.failures, claimed.redeliveries, claimed.private) == (5, 0, 0, None)
    waiting = make_job("b", attempt=4, failures=3, redeliveries=2, private="note")
    claimed = lifecycle.claimed(waiting, "i", NOW)
    assert (claimed.failures, claimed.redeliveries, claimed.private) == (3, 2, "note")


def test_a_job_that_is_to_run_again_is_not_completed():
    dead = make_job("a", state=ABANDONED, completed_at=NOW)
    taken = lifecycle.claimed(dead, "i", NOW + 1)
    assert taken.completed_at is None
    ended = running(completed_at=NOW)  # as a store may hand it over
    assert lifecycle.revived(ended, NOW + 1).completed_at is None
    assert lifecycle.arrived(ended, "other", NOW + 1).completed_at is None


def test_a_job_that_arrives_when_its_time_has_passed_is_in_line_at_once():
    overdue = make_job("a", state=JobState.DELAYED, due_at=NOW - 1)
    assert lifecycle.arrived(overdue, "other", NOW).state is JobState.PENDING
    assert lifecycle.arrived(overdue, "other", NOW - 2).state is JobState.DELAYED


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_the_last_failure_counts_as_every_other(failures: int):
    running = make_job("a", state=R, attempt=4, failures=failures)
    assert lifecycle.abandoned(running, FAILURE, NOW).failures == failures + 1
    assert lifecycle.retried(running, FAILURE, NOW, 0.0, None).failures == failures + 1
    assert lifecycle.moved(running, "other", NOW, FAILURE).failures == failures + 1
