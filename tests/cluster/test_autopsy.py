"""What Ray says of a dead worker, and what is made of it."""

from __future__ import annotations

import asyncio

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError

from honeydew_ray.actors import autopsy
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.job import Token
from honeydew_ray.postmortem import Recording, token_text
from honeydew_ray.transport import Died, NotStarted

TOKEN = Token("job", 1, "incarnation")


def examined(monkeypatch: pytest.MonkeyPatch, recording: Recording, error: Exception) -> object:
    async def found(worker: WorkerRef, own_node: str) -> Recording:
        return recording

    monkeypatch.setattr(autopsy, "bury", found)
    [report] = asyncio.run(autopsy.Coroner("here").examine(WorkerRef("w", "here"), [TOKEN], error))
    return report


def test_a_worker_killed_for_its_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examined(monkeypatch, Recording(token_text(TOKEN), None, ""), OutOfMemoryError("the node ran low on memory"))
    assert isinstance(report, Died)
    assert (report.failure.kind, report.failure.class_name) == ("out_of_memory", "OutOfMemoryError")
    assert "ran low on memory" in report.failure.message


def test_a_worker_that_vanished_is_told_apart_from_one_short_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examined(monkeypatch, Recording(token_text(TOKEN), None, ""), ActorDiedError())
    assert isinstance(report, Died)
    assert report.failure.kind == "signal"


def test_memory_that_ran_out_before_the_job_began_is_not_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examined(monkeypatch, Recording("another", None, ""), OutOfMemoryError("the node ran low on memory"))
    assert report == NotStarted(worker_alive=False)
