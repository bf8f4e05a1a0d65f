"""The subcommands of ``honeydew``, which look at the queues of a cluster that runs and tell them what to do.

None of them loads a pickle that somebody else made: what a job carries is described, not rebuilt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.live import Live

from honeydew_ray import console, job_search, plain, terminal, views
from honeydew_ray.actors import glance
from honeydew_ray.actors.client import QueueClient, client_of
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobSnapshot, JobState
from honeydew_ray.joining import join
from honeydew_ray.queue import Queue
from honeydew_ray.rates import Looks
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Query

_PATIENCE_S = 10.0

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.", show_default=False)]
Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", show_default=False)]
InQueue = Annotated[str, typer.Option("--queue", "-q", metavar="NAME", help="Where to look; in every queue without it.")]


def ls(as_json: Json = False) -> None:
    """List the queues, and what each holds."""
    join()
    found = glance.statuses(glance.queue_names())
    if as_json:
        console.print_json([views.status_view(status) if isinstance(status, QueueStatus) else {"name": name, "error": str(status)}
                     for name, status in found])
    elif found:
        console.show(terminal.queues_table(found))
    else:
        console.say('No queue runs in this cluster. A program starts one with honeydew_ray.start_queue("photos").')


def status(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Show a queue's counts and what each of its workers does; with --watch its pace too."""
    client = _client(name)
    if watch:
        _watch(client, interval, as_json)
        return
    now: QueueStatus = client.call("status", timeout_s=_PATIENCE_S)
    if as_json:
        console.print_json(views.status_view(now))
    else:
        console.show(terminal.status_view(now))


def jobs(
    name: Name,
    state: Annotated[list[JobState] | None, typer.Option(help="Only jobs in this state; can be given more than once.")] = None,
    method: Annotated[str, typer.Option(help="Only jobs of this method.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 50,
    as_json: Json = False,
) -> None:
    """List the jobs that a queue holds: waiting, running and abandoned ones."""
    client = _client(name)
    found = list(_jobs(client, state or [], method or None, limit or None))
    if as_json:
        console.print_json([views.job_view(job) for job in found])
    elif found:
        console.show(terminal.jobs_table(found))
        if len(found) == limit:
            console.say(f"The first {limit}; --limit 0 shows all.")
    else:
        what = "no such job" if state or method else "no job that waits, runs or was abandoned"
        console.say(f"Queue {name} holds {what}.")


def show(job: Id, queue: InQueue = "", as_json: Json = False) -> None:
    """Show all that is known of one job, for as long as its queue knows it."""
    join()
    found = list(job_search.find(job, queue, _PATIENCE_S))
    if not found:
        raise job_search.unknown(job, queue)
    if as_json:
        console.print_json([_job_view(client, snapshot) for client, snapshot in found])
        return
    for client, snapshot in found:
        console.show(terminal.job_view(client.queue, snapshot, _record(client, snapshot.id)))


def submit(
    name: Name,
    method: Annotated[str, typer.Argument(help="The name of a method of the worker class.", show_default=False)],
    args: Annotated[list[str] | None, typer.Argument(metavar="JSON...", help="Its arguments, each as JSON.", show_default=False)] = None,
    kwargs: Annotated[str, typer.Option(metavar="JSON", help="Its keyword arguments, as a JSON object.")] = "{}",
    delay: Annotated[float, typer.Option(min=0, help="Not before so many seconds from now.")] = 0.0,
    priority: Annotated[int, typer.Option(help="Higher runs first.")] = 0,
    timeout: Annotated[float, typer.Option(min=0, help="End it after so many seconds; 0 for never.")] = 0.0,
    job_id: Annotated[str, typer.Option("--id", help="An id of your own; two jobs of one id are one job.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, and say how it ended.")] = False,
    as_json: Json = False,
) -> None:
    """Enqueue a job: a method's name, and arguments as JSON.

    For example: honeydew submit photos classify '"img.png"' --kwargs '{"top": 3}'
    """
    given = [console.parsed(f"argument {number}", text) for number, text in enumerate(args or [], 1)]
    named = console.parsed("--kwargs", kwargs)
    if not isinstance(named, dict):
        raise console.Refused(f"--kwargs was {plain.describe(kwargs)}, expected a JSON object, such as '{{\"top\": 3}}'")
    client = _client(name)
    options = Queue(client).options(delay_s=delay, priority=priority, timeout_s=timeout or None, reply=wait, job_id=job_id or None)
    job = options.submit(method, *given, **named)
    if not wait:
        console.report(as_json, {"id": job.id, "queue": name}, f"{job.id}")
        return
    waiter = client.follow(job.id)
    client.wait(waiter, None)
    if waiter.end is None:
        raise waiter.lost or console.Refused(f"job {job.id} was lost sight of")
    end = views.snapshot_view(name, waiter.end)
    error = "" if waiter.end.last_error is None or waiter.end.state is JobState.DONE else f": {waiter.end.last_error}"
    result = "" if end["result"] is None else f": {end['result']}"
    console.report(as_json, end, f"{job.id} {end['state']}{error}{result}")
    if waiter.end.state is not JobState.DONE:
        raise typer.Exit(1)


def cancel(
    job: Id, queue: InQueue = "",
    running: Annotated[bool, typer.Option("--running", help="End it even if it runs: its worker is killed and replaced.")] = False,
    as_json: Json = False,
) -> None:
    """Call a job off before it starts; with --running, one that runs too."""
    client, snapshot = _one(job, queue)
    outcome: CancelOutcome = client.call("cancel", snapshot.id, running, timeout_s=None)
    says = {
        CancelOutcome.CANCELLED: "is cancelled",
        CancelOutcome.IN_PROGRESS: "runs already; --running ends it, with its worker",
        CancelOutcome.NOT_FOUND: "has ended",
    }
    done = {"id": views.id_view(snapshot.id), "queue": client.queue, "outcome": str(outcome)}
    console.report(as_json, done, f"job {job} {says[outcome]}")
    if outcome is not CancelOutcome.CANCELLED:
        raise typer.Exit(1)


def move(job: Id, destination: Annotated[str, typer.Argument(help="The other queue.", show_default=False)], queue: InQueue = "",
         as_json: Json = False) -> None:
    """Put a waiting job in another queue."""
    _client(destination)
    client, snapshot = _one(job, queue)
    client.call("move", snapshot.id, destination, timeout_s=None)
    moved = {"id": views.id_view(snapshot.id), "from": client.queue, "queue": destination}
    console.report(as_json, moved, f"job {job} is in queue {destination} now")


def retry(job: Id, queue: InQueue = "", as_json: Json = False) -> None:
    """Submit an abandoned job again."""
    client, snapshot = _one(job, queue)
    client.call("retry", snapshot.id, timeout_s=None)
    revived = {"id": views.id_view(snapshot.id), "queue": client.queue}
    console.report(as_json, revived, f"job {job} is in line again in queue {client.queue}")


def suspend(name: Name, as_json: Json = False) -> None:
    """Stop handing out a queue's jobs; what runs, runs on."""
    _client(name).call("suspend", timeout_s=None)
    console.report(as_json, {"name": name, "suspended": True}, f"queue {name} is suspended")


def resume(name: Name, as_json: Json = False) -> None:
    """Hand out a queue's jobs again."""
    _client(name).call("resume")
    console.report(as_json, {"name": name, "suspended": False}, f"queue {name} runs")


def stop(
    name: Name,
    drain: Annotated[bool, typer.Option("--drain", help="Finish its jobs first.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="How many seconds --drain may take; 0 for any.")] = 0.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even if jobs are lost with it.")] = False,
    as_json: Json = False,
) -> None:
    """End a queue and its workers. A durable store keeps its jobs; those of a MemoryStore are gone."""
    client = _client(name)
    if not (drain or yes or client.durable):
        _confirm_loss(name, client.call("status", timeout_s=_PATIENCE_S))
    Queue(client).stop(drain=drain, timeout=timeout or None)
    console.report(as_json, {"name": name, "stopped": True}, f"queue {name} is stopped")


# ----------------------------------------------------------------------------------------------


def _client(name: str) -> QueueClient:
    join()
    return client_of(name, _PATIENCE_S)


def _watch(client: QueueClient, interval_s: float, as_json: bool) -> None:
    looks = Looks()

    def look() -> tuple[QueueStatus, RenderableType]:
        now: QueueStatus = client.call("status", timeout_s=_PATIENCE_S)
        return now, terminal.status_view(now, looks.add(time.monotonic(), now))

    if as_json or not sys.stdout.isatty():
        while True:
            now, shown = look()
            if as_json:
                console.print_json(views.status_view(now), indent=None)
            else:
                console.show(shown)
            sys.stdout.flush()
            time.sleep(interval_s)
    with Live(look()[1], console=terminal.console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(look()[1], refresh=True)


def _jobs(client: QueueClient, states: list[JobState], method: str | None, limit: int | None) -> Iterator[JobRecord]:
    left = limit
    wanted: list[JobState | None] = [*states] or [None]
    for state in wanted:
        for job in glance.listing(client, Query(state=state, method=method), left):
            yield job
            left = None if left is None else left - 1


def _one(job: str, queue: str) -> tuple[QueueClient, JobSnapshot]:
    join()
    return job_search.find_one(job, queue, _PATIENCE_S)


def _record(client: QueueClient, job_id: JobId) -> JobRecord | None:
    return next(glance.listing(client, Query(ids=[job_id]), 1), None)


def _job_view(client: QueueClient, snapshot: JobSnapshot) -> dict[str, Any]:
    record = _record(client, snapshot.id)
    return {**views.snapshot_view(client.queue, snapshot), **({} if record is None else views.job_view(record))}


def _confirm_loss(name: str, now: QueueStatus) -> None:
    left = now.pending + now.delayed + now.in_progress
    if not left:
        return
    loss = f"queue {name} keeps its {left:,} job(s) in memory, and they would be lost with it"
    if not sys.stdin.isatty():
        raise console.Refused(f"{loss}; --drain finishes them first, --yes stops it all the same")
    if not typer.confirm(f"{loss}. Stop it?", err=True):
        raise typer.Exit(1)


COMMANDS: tuple[Callable[..., None], ...] = (ls, status, jobs, show, submit, cancel, move, retry, suspend, resume, stop)
