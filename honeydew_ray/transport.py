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


@dataclass(frozen=True, slots=True)
class Returned:
    """The job ran to its end."""

    result: Payload | None


@dataclass(frozen=True, slots=True)
class Raised:
    """The job raised, or its result could not be pickled; the worker's process lives.

    ``spoilt`` tells whether the worker's state must be rebuilt before its next job.
    """

    failure: Failure
    spoilt: bool = True


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The job did not start and never will under this token; ``worker_alive`` tells of the worker."""

    worker_alive: bool


@dataclass(frozen=True, slots=True)
class Died:
    """The worker's process died after the job had started."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker was lost through no fault of the job: its node died, or it stopped answering and was killed."""

    failure: Failure


Report = Returned | Raised | NotStarted | Died | Lost


class Holding(NamedTuple):
    """A worker that outlived an earlier process of the queue, and the attempts it holds: running, or ended and not settled."""

    worker: WorkerRef
    tokens: tuple[Token, ...]


class Transport(Protocol):
    """The queue's way to workers and to other queues."""

    async def run(self, worker: WorkerRef, attempt: Attempt) -> Report:
        """Issue an attempt to a free worker and wait for its end, however it ends."""
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

    async def recall(self, worker: WorkerRef, token: Token) -> bool:
        """Take an attempt back: True if it has not started, and now never will."""
        ...

    async def wait_idle(self, worker: WorkerRef) -> bool:
        """Wait until the worker runs nothing; False if it died first."""
        ...

    def kill(self, worker: WorkerRef) -> None:
        """End the worker's process at once. A `run` under way reports the death."""
        ...

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        """Give jobs to another queue under their ids, and return once it has custody.

        Raises `QueueNotFound` if no such queue runs, `HoneydewError` if it refuses.
        """
        ...
