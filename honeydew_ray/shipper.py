"""Sending jobs to a queue: how they are packed, and when they have arrived."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from honeydew_ray import payload
from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.delivery import Delivery
from honeydew_ray.actors.objects import as_arguments
from honeydew_ray.arguments import expect_seconds, refuse, refuse_type
from honeydew_ray.errors import EnqueueUncertain
from honeydew_ray.job_handle import Job
from honeydew_ray.protocol import Row, Submission
from honeydew_ray.task import Task

_AT_DOOR_S = 10.0


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How jobs are submitted: see `Queue.options`."""

    delay_s: float = 0.0
    priority: int = 0
    timeout_s: float | None = None
    reply: bool = True
    job_id: str | None = None
    submit_timeout_s: float = 30.0
    when_full: Literal["wait", "raise"] = "wait"

    def __post_init__(self) -> None:
        expect_seconds("options", "delay_s", self.delay_s)
        if isinstance(self.priority, bool) or not isinstance(self.priority, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse_type("options", "priority", self.priority, "a whole number, higher runs first", "priority=5")
        if self.timeout_s is not None:
            expect_seconds("options", "timeout_s", self.timeout_s, positive=True)
        if self.job_id is not None and (not isinstance(self.job_id, str) or not self.job_id):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise refuse("options", "job_id", self.job_id, "a string that is not empty", 'job_id="order-1234"')
        expect_seconds("options", "submit_timeout_s", self.submit_timeout_s, positive=True)
        if self.when_full not in ("wait", "raise"):
            raise refuse("options", "when_full", self.when_full, '"wait" or "raise"', 'when_full="raise"')

    def refuse_one_id(self, where: str) -> None:
        """Raises `ValueError` if there is a ``job_id``, for what submits several jobs."""
        if self.job_id is not None:
            expected = "no job_id, since two jobs of one id are one job"
            raise refuse(where, "job_id", self.job_id, expected, "submit each job with an id of its own")

    @property
    def patience_s(self) -> float:
        """How long a job may wait at the door of a full queue, in one call to it."""
        return min(self.submit_timeout_s / 2, _AT_DOOR_S) if self.when_full == "wait" else 0.0


class Packed(NamedTuple):
    """One job, pickled. Its large buffers are still its caller's memory: it is sent before the caller goes on, or `copied`."""

    row: Row
    buffers: list[Any]

    def copied(self) -> Packed:
        """The same job with buffers of its own: nothing that its caller does to the arguments from now on changes it."""
        return self._replace(buffers=[buffer.copy() for buffer in self.buffers])


class Sent(NamedTuple):
    """Jobs on their way to the queue."""

    jobs: list[Job[Any]]
    delivery: Delivery

    def confirmed(self) -> list[Job[Any]]:
        """The jobs, once the queue has custody of them. Raises what `honeydew_ray.Submitter.submit` raises."""
        try:
            self.delivery.confirm()
        except EnqueueUncertain as error:
            jobs = [copy.copy(job) for job in self.jobs]  # these ask the queue first, which never tells of jobs that it never had
            error.job = jobs[0] if len(jobs) == 1 else jobs
            raise
        return self.jobs


class Shipper:
    """Sends jobs to one queue, with one set of options."""

    def __init__(self, queue_client: QueueClient, options: SubmitOptions) -> None:
        self.options = options
        self._client = queue_client

    def pack(self, task: Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Packed:
        """Pickle one job. Raises `PayloadError`."""
        data, large = payload.dumps_call(task.function, args, kwargs, f"the arguments of {task.name!r}")
        job_id = self.options.job_id or os.urandom(10).hex()
        return Packed(Row(job_id, task.name, task.function is not None, data, len(large)), as_arguments(large))

    def send(self, packed: Sequence[Packed]) -> Sent:
        """Send jobs in one call to the queue."""
        options, queue_client = self.options, self._client
        rows = [job.row for job in packed]
        waiters = [queue_client.expect(row.job_id) for row in rows] if options.reply else []
        jobs = [Job[Any](queue_client, row.job_id, waiter=waiter, reply=options.reply)
                for row, waiter in itertools.zip_longest(rows, waiters)]
        common = Submission(queue_client.id if options.reply else None, options.delay_s, options.priority, options.timeout_s,
                            options.patience_s)
        buffers = [buffer for job in packed for buffer in job.buffers]
        return Sent(jobs, queue_client.deliver(common, rows, buffers, waiters, options.submit_timeout_s))
