"""What a queue and its workers are doing, at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from honeydew_ray import cards
from honeydew_ray.job import JobId


class WorkerState(str, Enum):
    """What a worker is doing."""

    STARTING = "starting"  # its process or its state is being made
    PENDING = "pending"  # the cluster has no room for it yet
    FAILED_INIT = "failed_init"  # making its state raised; it will be tried again
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"  # takes no new job

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker. ``job`` is the id of the job in hand, ``progress`` what that job last published,
    ``error`` the text of a failed init. ``jobs`` is how many it has in hand; of several, ``job`` is the oldest."""

    id: str
    node: str | None
    state: WorkerState
    job: JobId | None = None
    progress: Any = None
    error: str | None = None
    pid: int | None = None
    group: str = "default"
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One queue. ``pending`` does not include ``delayed``; ``pid`` is the queue's process.

    ``stale`` counts, in a table, the jobs whose queue was lost, which are in progress no more; ``trouble`` says what keeps the store
    from working at the moment: then the counts are those last seen.
    ``succeeded`` and ``failed`` count attempts since that process started; an attempt whose worker died has failed too.

    >>> busy = WorkerStatus("photos/default/0-1a", "n1", WorkerState.BUSY, "j1", "2/5")
    >>> print(QueueStatus("photos", 3, 1, 1, 0, False, "MemoryStore", [busy]))
    queue 'photos' (MemoryStore), running: 3 pending, 1 delayed, 1 in progress, 0 abandoned
      photos/default/0-1a: busy j1 '2/5'
    """

    name: str
    pending: int
    delayed: int
    in_progress: int
    abandoned: int
    suspended: bool
    store: str
    workers: list[WorkerStatus] = field(default_factory=list[WorkerStatus])
    pid: int | None = None
    stale: int = 0
    trouble: str | None = None
    succeeded: int = 0
    failed: int = 0

    def _repr_html_(self) -> str:
        return cards.status_card(self).html

    def __str__(self) -> str:
        state = "suspended" if self.suspended else "running"
        counts = f"{self.pending} pending, {self.delayed} delayed, {self.in_progress} in progress, {self.abandoned} abandoned"
        counts += f", {self.stale} stale" if self.stale else ""
        lines = [f"queue {self.name!r} ({self.store}), {state}: {counts}"]
        if self.trouble is not None:
            lines.append(f"  trouble: {self.trouble}")
        for worker in self.workers:
            what = f" {worker.job}" if worker.job is not None else ""
            said = f" {worker.progress!r}" if worker.progress is not None else ""
            why = f" ({worker.error.splitlines()[0]})" if worker.error else ""
            lines.append(f"  {worker.id}: {worker.state}{what}{said}{why}")
        return "\n".join(lines)
