"""A worker group's decisions: which workers to start, where, whose state to make, whom to let go, when to try again."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.placement import ANYWHERE, NodeView, Place, Plan
from honeydew_ray.roster import WorkerView
from honeydew_ray.staffing import Action, Dismiss, Fence, Init, Kill, Retire, Spawn
from honeydew_ray.status import WorkerState

_BUSY_SHARE = 0.05  # of a processor, above which a worker that does not answer is taken to compute and not to hang


@dataclass(slots=True)
class _Slot:
    """A place for one worker, and the worker in it.

    Invariant: exactly one of these is under way for a slot at any time: a spawn, an init, being
    ready, waiting to try one of the first two again, or waiting for a node to live on.
    """

    number: int
    worker_id: str
    home: str | None = None  # the only node it may live on
    adopted: bool = False  # an earlier process of the group started it, and it has yet to say where it lives
    aim: str | None = None  # the node that was chosen for it
    placed: bool = False  # its process was asked for
    looks: int = 0  # at the nodes since then
    state: WorkerState = WorkerState.STARTING
    ready: bool = False
    was_ready: bool = False
    epoch: int = 0
    spoilt: int = 0  # the latest epoch whose state the queue found spoilt
    node: str = ""
    labels: dict[str, str] | None = None
    pid: int | None = None
    error: str | None = None
    idle_since: tuple[int, float] | None = None  # how many jobs it had had, and when it was first seen idle after them

    @property
    def lives_on(self) -> str:
        """Its node, or the one it is to have; empty if that is not known."""
        return self.node or self.home or self.aim or ""


class Supervisor:
    """Keeps as many workers alive and ready as its plan says.

    Told what happened, it answers with what to do. Events about a worker that is no longer in its
    slot change nothing, so late and repeated ones do no harm. A worker that dies after it was
    ready is replaced at once; one that dies before is tried again after ``init_retry_s``, so that
    a class that kills its process in ``__init__`` does not start processes in a tight loop.
    """

    def __init__(self, plan: Plan, init_retry_s: float, new_id: Callable[[int, int], str]) -> None:
        self._plan = plan
        self._init_retry_s = init_retry_s
        self._new_id = new_id
        self._serials = itertools.count(1)
        self._slots: list[_Slot] = []
        self._leaving: dict[str, _Slot] = {}  # workers that finish what they have; their slots may have others by now
        self._nodes: Sequence[NodeView] = ()
        self._started = self._stopped = False

    # -- the group and its nodes -------------------------------------------------------------------

    def adopted(self, number: int, worker_id: str) -> None:
        """A worker that outlived an earlier process of the group, in slot ``number``. Before `start`."""
        self._take(_Slot(number, worker_id, adopted=True, was_ready=True))

    def start(self) -> list[Action]:
        """Fill every slot."""
        self._started = True
        self._fill()
        return [Spawn(slot.worker_id) for slot in self._slots]

    def saw_nodes(self, nodes: Sequence[NodeView], now: float) -> list[Action]:
        """These nodes are alive: use those that joined, and leave those that drain before their time is up."""
        self._nodes = nodes
        if self._stopped or not self._started:
            return []
        leaving = {node.id: node.leaves_at - now for node in nodes if node.leaves_at is not None}
        actions: list[Action] = []
        for slot in [slot for slot in self._slots if slot.pid is not None and slot.node in leaving]:
            actions += self._vacate(slot, max(leaving[slot.node], 0.0))
        actions += self._fill()
        for slot in self._slots:
            slot.looks += slot.placed
            if slot.pid is None and slot.state is WorkerState.PENDING and not slot.placed and self._place_of(slot) is not None:
                slot.state = WorkerState.STARTING
                actions.append(Spawn(slot.worker_id))
            elif slot.pid is None and slot.placed and not slot.adopted and slot.looks > 1:
                self._note_room(slot)
        return actions

    def place(self, worker_id: str) -> Place | None:
        """Where to start a worker whose spawn was asked for; None if it is not wanted, or must wait for a node."""
        slot = self._find(worker_id)
        if slot is None or self._stopped:
            return None
        if slot.adopted:
            return ANYWHERE  # it is somewhere
        if self._homeless(slot):
            self._slots.remove(slot)
            return None
        place = self._place_of(slot)
        slot.placed, slot.looks = place is not None, 0
        slot.aim = None if place is None else place.node
        if place is None:
            slot.state = WorkerState.PENDING
        return place

    # -- what becomes of a worker ------------------------------------------------------------------

    def spawned(self, worker_id: str, node: str, pid: int, labels: dict[str, str], epoch: int = 0, attempted: int = 0) -> list[Action]:
        """A worker's process is up. If it was adopted, it may hold a state, of ``epoch``, and was last asked for one of ``attempted``."""
        slot = self._find(worker_id)
        if slot is None or self._stopped:
            return [Kill(worker_id)]
        if slot.pid is not None:
            return []  # told twice
        slot.state, slot.node, slot.pid, slot.labels, slot.adopted = WorkerState.STARTING, node, pid, labels, False
        if self._plan.per_node is not None:
            slot.home = node
        slot.epoch = max(epoch, attempted)  # numbers go on from there: what is known as spoilt must not seem made anew
        if epoch > slot.spoilt and epoch == slot.epoch:
            return self.initialised(worker_id, epoch) + self._fill()
        return [self._init(slot), *self._fill()]

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
        if slot is not None:
            slot.spoilt = max(slot.spoilt, epoch)  # a worker that is being adopted may hold that state, and not have said so yet
        if slot is None or not slot.ready or slot.epoch != epoch:
            return []
        slot.state, slot.ready = WorkerState.STARTING, False
        return [self._init(slot)]

    def stranded(self, worker_id: str) -> list[Action]:
        """The queue gives it no more jobs since an earlier process of the group was to end it: end it now, when it has none in hand."""
        slot = self._find(worker_id)
        return [] if slot is None or slot.pid is None or self._stopped else self._vacate(slot, math.inf)

    def unheard(self, worker_id: str, silent_s: float, computed_s: float) -> list[Action]:
        """A worker did not answer for ``silent_s`` seconds, in which it used ``computed_s`` seconds of a processor.

        One that computes is left alone, as a job may hold the interpreter for long; so is one that makes its state.
        """
        slot = self._find(worker_id)
        if slot is None or not slot.ready or computed_s >= _BUSY_SHARE * silent_s:
            return []
        return [Fence(worker_id)]

    def died(self, worker_id: str, reason: Failure) -> list[Action]:
        """A worker's process is gone: replace it."""
        self._leaving.pop(worker_id, None)
        slot = self._find(worker_id)
        if slot is None or self._stopped:
            return []
        at = self._slots.index(slot)
        if self._homeless(slot) or len(self._slots) > self._most():
            del self._slots[at]
            return self._fill()
        early = not slot.was_ready and not self._lost_node(slot)
        error = slot.error if slot.error is not None and early else (f"died before it was ready: {reason}" if early else None)
        fresh = self._slots[at] = _Slot(slot.number, self._next_id(slot.number), slot.home, error=error)
        if early:
            fresh.state = WorkerState.FAILED_INIT
        return [Spawn(fresh.worker_id, self._init_retry_s if early else 0.0)]

    def stopping(self) -> list[str]:
        """Start no more workers; the ids of those there are."""
        self._stopped = True
        return [slot.worker_id for slot in self._all()]

    # -- growing and shrinking ---------------------------------------------------------------------

    @property
    def follows_load(self) -> bool:
        """Whether `saw_load` has something to decide."""
        return self._plan.elastic or len(self._slots) > self._most()

    def saw_load(self, waiting: int, idle: Mapping[str, int], now: float) -> list[Action]:
        """So many jobs wait, and these workers are idle, having had so many jobs: grow, or let go of who was idle for long."""
        if self._stopped:
            return []
        for slot in self._slots:
            jobs = idle.get(slot.worker_id)
            if jobs is None:
                slot.idle_since = None
            elif slot.idle_since is None or slot.idle_since[0] != jobs:
                slot.idle_since = jobs, now
        free = sum(slot.worker_id in idle or not slot.ready for slot in self._slots)  # or will be
        if waiting > 0:
            return [self._add() for _ in range(min(waiting - free, self._most() - len(self._slots)))]
        return self._shrink(now)

    def dismissed(self, worker_id: str) -> list[Action]:
        """A worker had no job in hand, and will be given none."""
        slot = self._find(worker_id)
        if slot is None:
            return []
        self._slots.remove(slot)
        return [Kill(worker_id)]

    def _shrink(self, now: float) -> list[Action]:
        surplus = len(self._slots) - self._plan.least
        if self._plan.per_node is not None or surplus <= 0:
            return []
        needless = [slot for slot in self._slots if slot.state is WorkerState.PENDING][:surplus]
        for slot in needless:  # nobody waits for it any more, and the cluster should not grow for it
            self._slots.remove(slot)
        patience_s = self._plan.idle_timeout_s if len(self._slots) <= self._most() else 0.0
        idle = [(slot.idle_since[1], slot.worker_id) for slot in self._slots if slot.idle_since is not None]
        longest = [worker_id for since, worker_id in sorted(idle) if now - since >= patience_s][: surplus - len(needless)]
        return [*(Kill(slot.worker_id) for slot in needless), *(Dismiss(worker_id) for worker_id in longest)]

    # -- what others ask ---------------------------------------------------------------------------

    def views(self) -> tuple[WorkerView, ...]:
        """How every worker stands."""
        return tuple(
            WorkerView(WorkerRef(slot.worker_id, slot.node, slot.labels or {}), slot.state, slot.ready, slot.epoch, slot.pid, slot.error)
            for slot in self._all()
        )

    # ----------------------------------------------------------------------------------------------

    def _fill(self) -> list[Action]:
        """Add what is missing."""
        if self._stopped:
            return []
        if self._plan.per_node is None:
            return [self._add() for _ in range(self._plan.least - len(self._slots))]
        if any(slot.adopted for slot in self._slots):  # it may be one of those that seem to be missing
            return []
        have = Counter(slot.home for slot in self._slots)
        return [self._add(node.id) for node in self._nodes if self._plan.allows(node) for _ in range(self._plan.per_node - have[node.id])]

    def _add(self, home: str | None = None) -> Spawn:
        number = next(number for number in itertools.count() if number not in self._numbers())
        slot = _Slot(number, self._next_id(number), home)
        self._take(slot)
        return Spawn(slot.worker_id)

    def _take(self, slot: _Slot) -> None:
        self._slots.append(slot)
        self._slots.sort(key=lambda slot: slot.number)

    def _vacate(self, slot: _Slot, within_s: float) -> list[Action]:
        """The worker leaves its slot to another one, elsewhere."""
        self._slots.remove(slot)
        self._leaving[slot.worker_id] = slot
        slot.state, slot.ready = WorkerState.DRAINING, False
        missing = self._plan.per_node is None and len(self._slots) < self._most()
        return [Retire(slot.worker_id, within_s), *([self._add()] if missing else [])]

    def _place_of(self, slot: _Slot) -> Place | None:
        if slot.home is not None:
            return Place(slot.home, only=True)
        others = [other for other in self._slots if other is not slot]
        coming = Counter(other.aim for other in others if other.aim is not None and other.pid is None)
        return self._plan.choose(self._nodes, Counter(other.lives_on for other in others), coming)

    def _note_room(self, slot: _Slot) -> None:
        if slot.state is not WorkerState.FAILED_INIT:
            candidates = [node for node in self._nodes if self._plan.allows(node) and slot.home in (None, node.id)]
            room = self._plan.ray_places or any(self._plan.has_room(node) for node in candidates)
            slot.state = WorkerState.STARTING if room else WorkerState.PENDING

    def _homeless(self, slot: _Slot) -> bool:
        """Whether it could live on one node only, which is gone, leaves, or is not known."""
        if self._plan.per_node is None:
            return False
        return slot.home is None or not any(node.id == slot.home and self._plan.allows(node) for node in self._nodes)

    def _lost_node(self, slot: _Slot) -> bool:
        return bool(slot.lives_on) and bool(self._nodes) and not any(node.id == slot.lives_on for node in self._nodes)

    def _most(self) -> int:
        return len(self._slots) if self._plan.per_node is not None else self._plan.most

    def _all(self) -> Collection[_Slot]:
        return [*self._slots, *self._leaving.values()]

    def _numbers(self) -> set[int]:
        return {slot.number for slot in self._all()}

    def _init(self, slot: _Slot, delay_s: float = 0.0) -> Init:
        slot.epoch += 1
        return Init(slot.worker_id, slot.epoch, delay_s)

    def _find(self, worker_id: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.worker_id == worker_id), None)

    def _next_id(self, slot: int) -> str:
        return self._new_id(slot, next(self._serials))
