"""A worker group's decisions: which workers to start, whose state to make, when to try again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.roster import WorkerView
from honeydew_ray.status import WorkerState


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker process under this id, ``delay_s`` seconds from now."""

    worker_id: str
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Init:
    """Have the worker make its state, ``delay_s`` seconds from now."""

    worker_id: str
    epoch: int
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Kill:
    """End the worker's process."""

    worker_id: str


Action = Spawn | Init | Kill


@dataclass(slots=True)
class _Slot:
    """A place for one worker, and the worker in it.

    Invariant: exactly one of these is under way for a slot at any time: a spawn, an init, being
    ready, or waiting to try one of the first two again.
    """

    number: int
    worker_id: str
    state: WorkerState = WorkerState.STARTING
    ready: bool = False
    was_ready: bool = False
    epoch: int = 0
    node: str = ""
    labels: dict[str, str] | None = None
    pid: int | None = None
    error: str | None = None


class Supervisor:
    """Keeps ``num`` workers alive and ready.

    Told what happened, it answers with what to do. Events about a worker that is no longer in its
    slot change nothing, so late and repeated ones do no harm. A worker that dies after it was
    ready is replaced at once; one that dies before is tried again after ``init_retry_s``, so that
    a class that kills its process in ``__init__`` does not start processes in a tight loop.
    """

    def __init__(self, num: int, init_retry_s: float, new_id: Callable[[int, int], str]) -> None:
        self._init_retry_s = init_retry_s
        self._new_id = new_id
        self._numbers = itertools.count(1)
        self._slots = [_Slot(number, self._next_id(number)) for number in range(num)]
        self._stopped = False

    def start(self) -> list[Action]:
        """Fill every slot."""
        return [Spawn(slot.worker_id) for slot in self._slots]

    def adopted(self, number: int, worker_id: str) -> None:
        """Instead of a new worker, slot ``number`` has one that outlived an earlier group process. Before `start`."""
        self._slots[number].worker_id = worker_id

    def no_room(self, worker_id: str, room: bool) -> list[Action]:
        """The cluster has no room for a worker that was to start, or has again."""
        slot = self._find(worker_id)
        if slot is not None and slot.pid is None:
            slot.state = WorkerState.STARTING if room else WorkerState.PENDING
        return []

    def spawned(self, worker_id: str, node: str, pid: int, labels: dict[str, str], epoch: int = 0, attempted: int = 0) -> list[Action]:
        """A worker's process is up. If it was adopted, it may hold a state, of ``epoch``, and was last asked for one of ``attempted``."""
        slot = self._find(worker_id)
        if slot is None or self._stopped:
            return [Kill(worker_id)]
        if slot.pid is not None:
            return []  # told twice
        slot.state, slot.node, slot.pid, slot.labels = WorkerState.STARTING, node, pid, labels
        slot.epoch = max(epoch, attempted)  # numbers go on from there: what is known as spoilt must not seem made anew
        if epoch > 0 and epoch == slot.epoch:
            return self.initialised(worker_id, epoch)
        return [self._init(slot)]

    def initialised(self, worker_id: str, epoch: int) -> list[Action]:
        """A worker has made its state."""
        slot = self._find(worker_id)
        if slot is not None and slot.epoch == epoch:
            slot.state, slot.ready, slot.was_ready, slot.error = WorkerState.IDLE, True, True, None
        return []

    def init_failed(self, worker_id: str, epoch: int, error: str, retry_s: float | None) -> list[Action]:
        """Making the state raised; try again after ``retry_s``, by default ``init_retry_s``."""
        slot = self._find(worker_id)
        if slot is None or slot.epoch != epoch:
            return []
        slot.state, slot.ready, slot.error = WorkerState.FAILED_INIT, False, error
        return [self._init(slot, self._init_retry_s if retry_s is None else retry_s)]

    def init_overdue(self, worker_id: str, epoch: int, after_s: float) -> list[Action]:
        """Making the state takes longer than it may: the process is no use any more."""
        slot = self._find(worker_id)
        if slot is None or slot.epoch != epoch or slot.ready:
            return []
        slot.error = f"__init__ took longer than init_timeout_s, {after_s:g} s; the worker was killed"
        return [Kill(worker_id)]

    def spoilt(self, worker_id: str, epoch: int) -> list[Action]:
        """The queue found the state of this epoch spoilt: make it anew."""
        slot = self._find(worker_id)
        if slot is None or not slot.ready or slot.epoch != epoch:
            return []
        slot.state, slot.ready = WorkerState.STARTING, False
        return [self._init(slot)]

    def died(self, worker_id: str, reason: Failure) -> list[Action]:
        """A worker's process is gone: replace it."""
        slot = self._find(worker_id)
        if slot is None or self._stopped:
            return []
        early = not slot.was_ready
        error = slot.error if slot.error is not None and early else (f"died before it was ready: {reason}" if early else None)
        fresh = _Slot(slot.number, self._next_id(slot.number), error=error)
        if early:
            fresh.state = WorkerState.FAILED_INIT
        self._slots[self._slots.index(slot)] = fresh
        return [Spawn(fresh.worker_id, self._init_retry_s if early else 0.0)]

    def stopping(self) -> list[str]:
        """Start no more workers; the ids of those there are."""
        self._stopped = True
        return [slot.worker_id for slot in self._slots]

    def views(self) -> tuple[WorkerView, ...]:
        """How every slot's worker stands."""
        return tuple(
            WorkerView(WorkerRef(slot.worker_id, slot.node, slot.labels or {}), slot.state, slot.ready, slot.epoch, slot.pid, slot.error)
            for slot in self._slots
        )

    def _init(self, slot: _Slot, delay_s: float = 0.0) -> Init:
        slot.epoch += 1
        return Init(slot.worker_id, slot.epoch, delay_s)

    def _find(self, worker_id: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.worker_id == worker_id), None)

    def _next_id(self, slot: int) -> str:
        return self._new_id(slot, next(self._numbers))
