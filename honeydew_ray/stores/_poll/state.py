"""What a queue remembers of a row: JSON in the row's private column, read without trust."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast, get_args

from honeydew_ray.errors import PayloadError
from honeydew_ray.failure import Failure, FailureKind, exception_text
from honeydew_ray.job import JobRecord, JobState

_MAX_TEXT = 8_000  # characters of a message or a traceback: a row of the user's is no place for more
_CLAIM = re.compile(r'\["([A-Za-z0-9_.@:\-]+)",(\d+(?:\.\d+)?),')
_MAX_CLAIMS = 1000
_KINDS = get_args(FailureKind)


class Claim(NamedTuple):
    """One reservation: its id, which is part of the attempt's token, and when it was made by the clock of the queue."""

    id: str
    at: float


@dataclass(frozen=True, slots=True)
class RowState:
    """A job, but for what its row's key and its queue's task tell.

    In the column: a JSON object; while the job is reserved ``["claim", time, <what it was before>]``,
    which one statement can write for many rows. Two claims around each other: the first one's lease ran out.
    """

    claims: tuple[Claim, ...] = ()  # the latest first
    place: int = 0  # what the lock was when it last waited; its place in line
    facts: Mapping[str, Any] | None = None  # fields of `JobRecord`, and the error as a dict

    def job(self, blank: JobRecord, state: JobState) -> JobRecord:
        """The job of a row that stands so; ``blank`` has what the row's key and the queue's task tell."""
        facts = self.facts or {}

        def number(name: str) -> float | None:
            return _number(facts.get(name))

        job = blank._replace(
            state=state, seq=self.place + 1,
            attempt=int(number("attempt") or 0), failures=int(number("failures") or 0), redeliveries=int(number("redeliveries") or 0),
            enqueued_at=number("enqueued_at") or (self.claims[-1].at if self.claims else None),
            started_at=number("started_at"), completed_at=number("completed_at"), private=facts.get("note"),
            incarnation=_text(facts.get("incarnation")) or "", client=_text(facts.get("client")), last_error=_failure(facts.get("error")),
        )
        due_at = number("due_at")
        job = job._replace(due_at=due_at if due_at is not None else blank.due_at or job.enqueued_at or 0.0)
        if not self.claims:
            return job
        job = job._replace(attempt=job.attempt + len(self.claims), redeliveries=job.redeliveries + len(self.claims) - 1,
                      incarnation=self.claims[0].id)
        if state is JobState.IN_PROGRESS:
            return job._replace(started_at=self.claims[0].at, completed_at=None)
        return job._replace(started_at=None, redeliveries=job.redeliveries + 1)  # its lease ran out


def read(text: object) -> RowState:
    """What a private column says. What is not ours, or was edited, counts as nothing, and is never run."""
    claims: list[Claim] = []
    left = text if isinstance(text, str) else ""
    while (claim := _CLAIM.match(left)) is not None and left.endswith("]") and len(claims) < _MAX_CLAIMS:
        claims.append(Claim(claim[1], float(claim[2])))
        left = left[claim.end():-1]
    try:
        value: Any = json.loads(left) if left else None
    except (ValueError, RecursionError):
        value = None
    facts: dict[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    place = facts.get("place")
    return RowState(tuple(claims), place if isinstance(place, int) and 0 <= place < 2**62 else 0, facts)


def opening(claim: Claim) -> str:
    """How the column begins in every row of a claim."""
    return f'["{claim.id}",{claim.at!r},'


def fence(claim_id: str) -> str:
    """What the column begins with as long as a claim holds."""
    return f'["{claim_id}",'


def write(job: JobRecord, place: int) -> str:
    """What the column is to hold for a job that waits, or is abandoned. Raises `PayloadError` if its note is no JSON."""
    facts: dict[str, Any] = {
        "place": place, "attempt": job.attempt, "failures": job.failures, "redeliveries": job.redeliveries, "enqueued_at": job.enqueued_at,
        "due_at": job.due_at, "started_at": job.started_at, "completed_at": job.completed_at, "incarnation": job.incarnation,
        "client": job.client, "error": None if job.last_error is None else _plain(job.last_error),
    }
    kept = {name: value for name, value in facts.items() if value not in (None, 0, "")}
    if job.private is not None:
        kept["note"] = job.private
    try:
        text = json.dumps(kept, allow_nan=False)
        same = json.loads(text).get("note") == job.private
    except (TypeError, ValueError, RecursionError) as error:
        text = f"the failure mode's note on job {job.id} is no JSON, which a poll queue keeps: {exception_text(error)}"
        raise PayloadError(text) from error
    if not same:
        raise PayloadError(f"the failure mode's note on job {job.id} comes back from JSON as another value; a poll queue keeps "
                           "None, bool, int, float, str, lists, and dicts whose keys are strings")
    return text


def _plain(failure: Failure) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": failure.kind, "class": failure.class_name, "message": _shortened(failure.message),
        "traceback": _shortened(failure.traceback),
        "exit_code": failure.exit_code, "signal": failure.signal, "attempt": failure.attempt, "node": failure.node,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _failure(value: object) -> Failure | None:
    if not isinstance(value, dict):
        return None
    facts = cast("dict[str, Any]", value)
    kind: Any = facts.get("kind")
    whole = {name: facts.get(name) for name in ("exit_code", "signal", "attempt")}
    numbers = {name: number if isinstance(number, int) else None for name, number in whole.items()}
    return Failure(
        kind if kind in _KINDS else "exception", _text(facts.get("class")) or "", _text(facts.get("message")) or "",
        _text(facts.get("traceback")) or "", numbers["exit_code"], numbers["signal"], numbers["attempt"] or 0, _text(facts.get("node")),
    )


def _shortened(text: str) -> str:
    half = _MAX_TEXT // 2
    return text if len(text) <= _MAX_TEXT else f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and -1e15 < value < 1e15 else None
