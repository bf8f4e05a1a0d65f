"""What the deciding core asks of the cluster, and what it hears back; the Ray edge implements it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.payload import Payload


class Attempt(NamedTuple):
    """What a worker is sent: one job, once."""

    token: Token
    method: str
    is_function: bool
    payload: Payload
    timeout_s: float | None = None  # the queue sees to it; the worker knows it in case the queue is lost


@dataclass(frozen=True, slots=True)
class Returned:
    """The job ran to its end, in ``ran_s`` seconds."""

    result: Payload | None
    ran_s: float | None = None  # None: not measured


@dataclass(frozen=True, slots=True)
class Raised:
    """The job raised, or its result could not be pickled; the worker's process lives.

    ``spoilt`` tells whether the worker's state must be rebuilt before its next job.
    """

    failure: Failure
    spoilt: bool = True


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The job did not start and never will under this token; ``worker_alive`` tells of the worker.

    ``spoilt``: its state must be rebuilt before it runs any job.
    """

    worker_alive: bool
    spoilt: bool = False


@dataclass(frozen=True, slots=True)
class Died:
    """The worker's process died after the job had started."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker was lost through no fault of the job: its node died, or it stopped answering and was killed."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job was stopped because the queue asked for it; its worker goes on."""


Report = Returned | Raised | NotStarted | Died | Lost | Stopped


class Holding(NamedTuple):
    """A worker that outlived an earlier process of the queue, and the attempts it holds: running, or ended and not settled."""

    worker: WorkerRef
    tokens: tuple[Token, ...]


class Transport(Protocol):
    """The queue's way to workers and to other queues."""

    async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> Sequence[Report]:
        """Issue attempts to a free worker, which runs them in order, and wait until it is done with all, however they end.

        A report for each, in order.
        """
        ...

    async def survivors(self, queue: str) -> Sequence[Holding]:
        """The workers that outlived an earlier process of this queue, and what they hold."""
        ...

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        """Wait for the end of an attempt that such a worker holds, however it ends."""
        ...

    def settled(self, worker: WorkerRef, token: Token) -> None:
        """The store has what came of an attempt: the worker need not keep its answer any longer."""
        ...

    async def take_back(self, worker: WorkerRef, tokens: Sequence[Token]) -> Sequence[Report | None]:
        """Take attempts back, those that have not started: they never will.

        For each: a report if it was taken back or is over; None if it runs, or the worker is dead.
        """
        ...

    async def stop(self, worker: WorkerRef, token: Token) -> bool:
        """Have a worker that runs several jobs at once stop one of them; False if it cannot, or was not told.

        The `run` under way reports `Stopped`, unless the job ended otherwise.
        """
        ...

    async def wait_idle(self, worker: WorkerRef) -> bool:
        """Wait until the worker runs nothing; False if it died first.

        What it still runs is of a queue that is lost; if that outlives its own timeout, the worker is killed.
        """
        ...

    def kill(self, worker: WorkerRef) -> None:
        """End the worker's process at once. A `run` under way reports the death."""
        ...

    async def end(self, worker: WorkerRef) -> None:
        """End the worker's process, and return when it is known to be dead."""
        ...

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        """Give jobs to another queue under their ids, and return once it has custody.

        Raises `QueueNotFound` if no such queue runs, `HoneydewError` if it refuses.
        """
        ...
