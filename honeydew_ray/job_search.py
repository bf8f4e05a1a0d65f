"""Finding a job by what a person typed, in whatever queue it is."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from honeydew_ray import plain
from honeydew_ray.actors import glance
from honeydew_ray.actors.client import QueueClient, client_of
from honeydew_ray.errors import HoneydewError, JobNotFound
from honeydew_ray.job import FINAL_STATES, JobId, JobSnapshot, JobState


class AmbiguousJob(HoneydewError):
    """More than one queue has a job of that id."""


def find(job: str, queue: str, patience_s: float) -> Iterator[tuple[QueueClient, JobSnapshot]]:
    """Wherever the job is known; in a queue where it is still to do something first."""
    found: list[tuple[QueueClient, JobSnapshot]] = []
    for name in [queue] if queue else glance.queue_names():
        try:
            client = client_of(name, patience_s)
            known = next((one for one in (client.call("describe", job_id, timeout_s=patience_s) for job_id in ids_of(job)) if one), None)
        except (HoneydewError, TimeoutError):
            if queue:
                raise
            continue  # one queue in trouble must not hide the job in another
        if known is not None:
            found.append((client, known))
    yield from sorted(found, key=lambda pair: pair[1].state in FINAL_STATES)


def find_one(job: str, queue: str, patience_s: float) -> tuple[QueueClient, JobSnapshot]:
    """The one place where it is still to do something, or else where it ended; raises `JobNotFound` and `AmbiguousJob`."""
    found = list(find(job, queue, patience_s))
    alive = [pair for pair in found if pair[1].state not in FINAL_STATES or pair[1].state is JobState.ABANDONED]
    if len(alive) > 1:
        there = ", ".join(client.queue for client, _ in alive)
        raise AmbiguousJob(f"job {plain.printable(job)} is in more than one queue: {there}; say which with --queue")
    if not found:
        raise unknown(job, queue)
    return (alive or found)[0]


def ids_of(text: str) -> list[JobId]:
    """What an id on the command line may stand for: itself, or the key of a row, which is JSON if it has several columns."""
    try:
        key: Any = json.loads(text)
    except ValueError:
        key = text
    if isinstance(key, list):
        return [text, *itertools.product(*map(_values, key))]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return [*_values(text), key] if isinstance(key, int) and not isinstance(key, bool) else _values(text)


def _values(part: Any) -> list[Any]:
    """What one column of a key may hold: the part itself, and what its text can be read as; only the column knows which."""
    values = [part]
    for read in (UUID, date.fromisoformat, datetime.fromisoformat, _decimal) if isinstance(part, str) else ():
        with contextlib.suppress(ValueError, ArithmeticError):
            values.append(read(part))
    return values


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(f"{text} is no key: it equals nothing, or has no hash")
    return number


def unknown(job: str, queue: str) -> JobNotFound:
    """The error for a job that was not found."""
    where = f"queue {queue} does not know" if queue else "no queue knows"
    return JobNotFound(f"{where} job {plain.printable(job)}; what became of a job is kept for a while only")
