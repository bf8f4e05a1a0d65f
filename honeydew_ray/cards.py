"""Queues and jobs as a notebook shows them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from honeydew_ray import display, views
from honeydew_ray.display import Markup

if TYPE_CHECKING:  # what is shown here can be shown from there
    from honeydew_ray.job import JobRecord, JobSnapshot
    from honeydew_ray.rates import Rates
    from honeydew_ray.status import QueueStatus, WorkerStatus

_ROWS = 20
_BUSY_FIRST = ("busy", "draining", "failed_init", "pending", "starting", "idle")


def status_card(status: QueueStatus, pace: Rates | None = None) -> Markup:
    """A queue: its counts, its pace if it is known, and its workers, busy ones first."""
    state = [" ", display.badge("suspended")] if status.suspended else []
    counts = (
        ("pending", status.pending), ("delayed", status.delayed), ("in progress", status.in_progress), ("abandoned", status.abandoned),
        ("succeeded", status.succeeded), ("failed attempts", status.failed),
    )
    parts: list[object] = [
        display.heading(f"queue {status.name}", display.note(status.store), *state),
        display.table([name for name, _ in counts], [[f"{count:,}" for _, count in counts]]),
    ]
    if status.trouble is not None:
        parts.append(display.mistake(status.trouble))
    if pace is not None:
        parts.append(_pace(pace))
    parts.append(_workers(status.workers))
    return display.box(*parts)


def _pace(pace: Rates) -> Markup:
    rate = f"{pace.succeeded:,.1f} jobs/s" + (f", {pace.failed:,.1f} failures/s" if pace.failed > 0 else "")
    depth = pace.depths[-1] if pace.depths else 0
    return display.facts([
        ("rate", display.join([display.chart(pace.history, "#15803d"), f" {rate}"])),
        ("depth", display.join([display.chart(pace.depths), f" {depth:,} jobs"])),
    ])


def _workers(workers: list[WorkerStatus]) -> Markup:
    if not workers:
        return display.note("no workers")
    ranked = sorted(workers, key=lambda worker: _BUSY_FIRST.index(str(worker.state)))
    rows = [[views.short_worker(worker), display.badge(worker.state), _job(worker), _said(worker)] for worker in ranked[:_ROWS]]
    more = [display.note(f"and {len(ranked) - _ROWS:,} more workers")] if len(ranked) > _ROWS else []
    return display.join([display.table(["worker", "state", "job", "progress"], rows), *more])


def _job(worker: WorkerStatus) -> str:
    return "" if worker.job is None else views.id_text(worker.job)


def _said(worker: WorkerStatus) -> object:
    if worker.error:
        return display.mistake(worker.error.splitlines()[0])
    return "" if worker.progress is None else display.escape(worker.progress, 80)


def job_card(queue: str, job: JobSnapshot, record: JobRecord | None) -> Markup:
    """A job: how it stands, what it was given, how its last attempt ended that did not succeed."""
    now = time.time()
    pairs: list[tuple[str, object]] = [("state", display.badge(job.state)), ("queue", queue), ("method", job.method)]
    if record is not None:
        pairs.append(("arguments", display.escape(views.arguments_of(record, 400), 400)))
    pairs.append(("attempts", str(job.attempts)))
    if job.started_at is not None:
        ended = job.completed_at if job.completed_at is not None else now
        if job.enqueued_at is not None:
            pairs.append(("waited", f"{max(job.started_at - job.enqueued_at, 0):,.3f} s"))
        pairs.append(("ran" if job.completed_at is not None else "has run", f"{max(ended - job.started_at, 0):,.3f} s"))
    if job.progress is not None:
        pairs.append(("progress", display.escape(job.progress, 400)))
    if job.moved_to is not None:
        pairs.append(("moved to", job.moved_to))
    parts: list[object] = [display.heading(f"job {views.id_text(job.id)}"), display.facts(pairs)]
    if job.last_error is not None:
        parts += [display.mistake(str(job.last_error)), display.preformatted(job.last_error.traceback)]
    return display.box(*parts)


def gone_card(what: str, why: object) -> Markup:
    """Something that cannot be looked at now."""
    return display.box(display.heading(what), display.mistake(str(why)))
