"""Queues and jobs as a terminal shows them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from honeydew_ray import views
from honeydew_ray.job import JobRecord, JobSnapshot, JobState
from honeydew_ray.plain import printable
from honeydew_ray.rates import Rates
from honeydew_ray.status import QueueStatus, WorkerState, WorkerStatus

_PLAIN_WIDTH = 160
_ROWS = 30
_STATE_STYLES = {
    JobState.DONE: "green", JobState.IN_PROGRESS: "cyan", JobState.ABANDONED: "red", JobState.DELAYED: "yellow",
    WorkerState.BUSY: "cyan", WorkerState.IDLE: "green", WorkerState.FAILED_INIT: "red", WorkerState.PENDING: "yellow",
    WorkerState.STARTING: "yellow",
}
_BUSY_FIRST = (WorkerState.BUSY, WorkerState.DRAINING, WorkerState.FAILED_INIT, WorkerState.PENDING, WorkerState.STARTING, WorkerState.IDLE)


def console() -> Console:
    """Standard output as it is now; wide if it is no terminal."""
    found = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=_PLAIN_WIDTH)


def queues_table(statuses: Sequence[tuple[str, QueueStatus | Exception]]) -> RenderableType:
    """One line for each queue; those that did not answer say why."""
    table = _table("queue", "store", *(f"{name}>" for name in ("pending", "delayed", "running", "abandoned", "workers")), "")
    for name, status in statuses:
        if isinstance(status, Exception):
            table.add_row(_cell(name), "", "", "", "", "", "", Text(printable(str(status)), style="red"))
            continue
        ready = sum(worker.state in (WorkerState.IDLE, WorkerState.BUSY) for worker in status.workers)
        counts = (status.pending, status.delayed, status.in_progress, status.abandoned)
        workers = f"{ready}" if ready == len(status.workers) else f"{ready}/{len(status.workers)}"
        table.add_row(_cell(name), _cell(status.store), *(f"{count:,}" for count in counts), workers, _suspended(status))
    return table


def status_view(status: QueueStatus, pace: Rates | None = None, rows: int = _ROWS) -> RenderableType:
    """A queue's counts, its pace if it is known, and its workers, busy ones first, at most ``rows`` of them."""
    head = Text.assemble((printable(status.name), "bold"), f"  {printable(status.store)}  ", _suspended(status))
    counts = Text.assemble(
        f"{status.pending:,} pending, {status.delayed:,} delayed, {status.in_progress:,} in progress, ",
        (f"{status.abandoned:,} abandoned", "red" if status.abandoned else ""),
        f"; {status.succeeded:,} succeeded, ", (f"{status.failed:,} failed", "red" if status.failed else ""),
    )
    parts: list[RenderableType] = [head, counts]
    if status.trouble is not None:
        parts.append(Text(printable(status.trouble, 1000), style="red"))
    if pace is not None:
        parts.append(Text.assemble(f"{pace.succeeded:,.1f} jobs/s  ", (pace.sparkline(), "cyan"), _time_left(status, pace)))
    parts.append(_workers_table(status.workers, rows) if status.workers else Text("no workers", style="yellow"))
    return Group(*parts)


def jobs_table(jobs: Iterable[JobRecord]) -> Table:
    """One line for each job that a queue holds."""
    table = _table("id", "state", "method", "arguments", "attempts>", "enqueued>", "last error")
    now = time.time()
    for job in jobs:
        error = "" if job.last_error is None else f"{job.last_error.kind}: {job.last_error.class_name}: {job.last_error.message}"
        table.add_row(_cell(views.id_view(job.id)), _state(job.state), _cell(job.method, 40), _cell(views.arguments_of(job, 60), 60),
                      str(job.attempts), "" if job.enqueued_at is None else _ago(now - job.enqueued_at), _cell(error, 60))
    return table


def job_view(queue: str, job: JobSnapshot, record: JobRecord | None) -> RenderableType:
    """All that is known of one job."""
    now = time.time()
    grid = Table.grid(padding=(0, 2))
    grid.add_row("id", _cell(views.id_view(job.id)))
    grid.add_row("queue", _cell(queue))
    grid.add_row("state", _state(job.state))
    grid.add_row("method", _cell(job.method))
    if record is not None:
        grid.add_row("arguments", _cell(views.arguments_of(record, 1000), 1000))
        grid.add_row("priority", str(record.priority))
    grid.add_row("attempts", str(job.attempts))
    for name, at in (("enqueued", job.enqueued_at), ("started", job.started_at), ("ended", job.completed_at)):
        if at is not None:
            grid.add_row(name, _ago(now - at))
    if record is not None and job.state is JobState.DELAYED:
        grid.add_row("due", f"in {max(record.due_at - now, 0):.0f} s")
    for name, value in (("progress", job.progress), ("moved to", job.moved_to), ("result", views.result_of(job, 1000))):
        if value is not None:
            grid.add_row(name, _cell(value, 1000))
    if job.last_error is None:
        return grid
    grid.add_row("last error", Text(printable(str(job.last_error), 1000), style="red"))
    return Group(grid, Text(printable(job.last_error.traceback, 20_000, keep="\n"), style="dim"))


def _workers_table(workers: Sequence[WorkerStatus], rows: int) -> RenderableType:
    table = _table("worker", "state", "job", "progress")
    ranked = sorted(workers, key=lambda worker: _BUSY_FIRST.index(worker.state))
    for worker in ranked[:rows]:
        said = worker.error.splitlines()[0] if worker.error else worker.progress
        job = "" if worker.job is None else views.id_view(worker.job)
        table.add_row(_cell(views.short_worker(worker)), _state(worker.state), _cell(job), _cell("" if said is None else said, 80))
    if len(ranked) <= rows:
        return table
    return Group(table, Text(f"  and {len(ranked) - rows} more workers", style="dim"))


def _table(*columns: str) -> Table:
    """A plain table; a name that ends in ``>`` makes a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        number = name.endswith(">")
        table.add_column(name.removesuffix(">"), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _cell(value: object, limit: int = 80) -> Text:
    return Text(printable(value, limit))


def _state(state: JobState | WorkerState) -> Text:
    return Text(str(state), style=_STATE_STYLES.get(state, ""))


def _suspended(status: QueueStatus) -> Text:
    return Text("suspended", style="bold yellow") if status.suspended else Text("")


def _time_left(status: QueueStatus, pace: Rates) -> str:
    waiting = status.pending + status.in_progress
    return f"  {_duration(waiting / pace.succeeded)} to go" if waiting and pace.succeeded > 0 else ""


def _ago(seconds: float) -> str:
    return f"{_duration(max(seconds, 0.0))} ago"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
