"""What a queue asks of the policy that chooses a worker for a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from honeydew_ray.job import JobRecord


@dataclass(frozen=True, slots=True)
class WorkerRef:
    """A worker, as a dispatcher sees it; equal and hashed by ``id``, which is never used twice."""

    id: str
    node: str = field(default="", compare=False)  # Ray's id of the node it lives on
    labels: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)


class Dispatcher(ABC):
    """Keeps the free workers of one queue and chooses among them.

    The queue tells it of every worker that becomes free and of every one that is gone. Calls
    come one at a time. Run `honeydew_ray.testing.DispatcherContract` against your own.
    """

    @abstractmethod
    def check_in(self, worker: WorkerRef) -> None:
        """A worker is free: new, or back from a job. Twice in a row is the same as once."""

    @abstractmethod
    def check_out(self, job: JobRecord) -> WorkerRef | None:
        """Choose a free worker for the job; from now on it is busy. None if none will do."""

    @abstractmethod
    def remove(self, worker: WorkerRef) -> None:
        """A worker is gone, free or busy. One that is not known is ignored."""

    @abstractmethod
    def known(self) -> Sequence[WorkerRef]:
        """Every worker checked in and not removed, free and busy."""

    @abstractmethod
    def available(self) -> int:
        """How many workers are free."""
