"""What a worker group tells its queue: always the whole of how it stands, never a change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.status import WorkerState


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, as its group sees it.

    ``epoch`` counts how often its state was made: a queue that found the state of epoch n spoilt
    gives the worker no job until it is ready with a higher one.
    """

    ref: WorkerRef
    state: WorkerState
    ready: bool = False
    epoch: int = 0
    pid: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """A group's workers. A roster with a higher ``serial`` replaces one with a lower.

    ``methods`` are the names a job may call; None: any (the class answers to names made up at
    run time); empty: the workers hold no state and run plain functions only.
    """

    group: str
    incarnation: str  # of the group's process; serials of different incarnations do not compare
    serial: int
    workers: tuple[WorkerView, ...] = ()
    class_name: str | None = None
    methods: frozenset[str] | None = field(default_factory=frozenset[str])
    prefetch: bool = False  # a lease of its workers may carry several jobs
    concurrency: int = 1  # how many jobs each of its workers runs at once


class Load(NamedTuple):
    """What a queue tells a group whose size follows it: jobs that wait, and by idle worker how many jobs it has had."""

    waiting: int
    idle: dict[str, int]


class Spoilt(NamedTuple):
    """A worker whose state of this epoch must be made anew, or that ``leaves``, as it gets no more jobs."""

    worker_id: str
    epoch: int
    leaves: bool = False
