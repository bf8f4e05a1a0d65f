"""What a dead worker left, and what that means for the jobs it had been sent."""

from __future__ import annotations

import pytest

from honeydew_ray.failure import Failure, FailureKind
from honeydew_ray.job import Token
from honeydew_ray.postmortem import SEVERAL, Recording, cause, is_suspect, reports, token_text
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.transport import Died, Lost, NotStarted, Report

LEASE = [Token(name, 1, "incarnation") for name in "abc"]
SAID = "The actor died.\nOwner ..."


def kinds(told: list[Report]) -> list[str]:
    return [f"{type(report).__name__} {report.failure.class_name}" if isinstance(report, (Died, Lost)) else type(report).__name__
            for report in told]


@pytest.mark.parametrize(("place", "expected"), [
    (0, ["Died WorkerKilled", "NotStarted", "NotStarted"]),
    (1, ["Lost AnswerLost", "Died WorkerKilled", "NotStarted"]),
    (2, ["Lost AnswerLost", "Lost AnswerLost", "Died WorkerKilled"]),
])
def test_the_job_that_was_begun_last_met_the_end(place: int, expected: list[str]) -> None:
    assert kinds(reports(LEASE, Recording(token_text(LEASE[place]), None, ""), SAID)) == expected


@pytest.mark.parametrize("token", [None, "another lease's"])
def test_a_worker_that_had_begun_none_of_these_harmed_none(token: str | None) -> None:
    assert reports(LEASE, Recording(token, None, ""), SAID) == [NotStarted(worker_alive=False)] * 3


@pytest.mark.parametrize("recording", [None, Recording(SEVERAL, None, "")])
def test_none_of_several_is_to_blame_if_it_is_not_known_which_it_was(recording: Recording | None) -> None:
    told = reports(LEASE, recording, SAID)
    assert kinds(told) == ["Lost WorkerDied"] * 3
    assert isinstance(told[0], Lost) and told[0].failure.message.endswith("is not known: The actor died.")


def test_one_by_itself_is_to_blame_even_if_there_is_no_record() -> None:
    assert kinds(reports(LEASE[:1], None, SAID)) == ["Died WorkerDied"]
    assert kinds(reports(LEASE[:1], None, "")) == ["Died WorkerDied"], "though Ray says nothing"
    assert kinds(reports(LEASE[:1], None, SAID, out_of_memory=True)) == ["Died OutOfMemoryError"]


@pytest.mark.parametrize(("recording", "expected"), [
    (Recording(None, 0, ""), ("exit", 0, None)),
    (Recording(None, 7, "Fatal Python error: Aborted"), ("exit", 7, None)),
    (Recording(None, None, "Fatal Python error: Segmentation fault"), ("signal", None, 11)),
    (Recording(None, None, ""), ("signal", None, 9)),
])
def test_how_a_process_ended_by_what_it_left(recording: Recording, expected: tuple[str, int | None, int | None]) -> None:
    failure: Failure = cause(recording, SAID)
    assert (failure.kind, failure.exit_code, failure.signal) == expected


@pytest.mark.parametrize("out_of_memory", [False, True])
@pytest.mark.parametrize("recording", [None, Recording(SEVERAL, None, ""), *(
    Recording(token_text(LEASE[0]), code, crash) for code, crash in [(3, ""), (None, ""), (None, "Fatal Python error: Aborted")])])
def test_a_job_under_which_its_worker_ended_is_a_suspect(recording: Recording | None, out_of_memory: bool) -> None:
    told, = reports(LEASE[:1], recording, SAID, out_of_memory)
    assert isinstance(told, (Died, Lost))
    assert is_suspect(make_job(last_error=told.failure))


@pytest.mark.parametrize(("kind", "class_name", "suspect"), [
    ("unresponsive", "WorkerSilent", True), ("exit", "WorkerStopped", False), ("exit", "AnswerLost", False),
    ("node_lost", "NodeLost", False), ("timeout", "TimeoutError", False), ("exception", "WorkerKilled", False),
])
def test_a_job_whose_worker_was_let_go_or_lives_is_none(kind: FailureKind, class_name: str, suspect: bool) -> None:
    assert is_suspect(make_job(last_error=Failure(kind, class_name, ""))) == suspect


def test_a_job_that_was_not_tried_yet_is_none() -> None:
    assert not is_suspect(make_job())
