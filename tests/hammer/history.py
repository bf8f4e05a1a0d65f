"""A history, put in order: what each job was asked to do, what became of it, and what was done to the cluster meanwhile."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.hammer.recorder import Event

SETTLE_S = 3.0
"""How long after a run, or after a fault, what came of it may be on its way to the store."""

BURIAL_S = 10.0
"""How long a queue may look for what a dead worker left on another node (`honeydew_ray.actors.autopsy`), where a process has to start."""

PAUSES = frozenset({"worker_pause", "queue_pause", "group_pause", "driver_pause"})
"""Faults that only take time: shorter than `SETTLE_S`, and nothing may come of them."""

CUT_OFF = frozenset({"node", "node_pause"})
"""Faults after which a run may go on beside the next: Ray counts its process as dead, and nobody can make sure."""


@dataclass(frozen=True)
class QueueFacts:
    """What a queue promised when it started."""

    name: str
    durable: bool
    times: int  # what its Retry allows
    max_redeliveries: int
    fifo: bool = False  # one producer, one worker, all jobs alike: they start in the order they were acknowledged
    moves_to: str | None = None  # by its failure mode
    shared: bool = False  # a worker may have several jobs at once in hand, and lose them together


@dataclass
class Call:
    """Something that a client asked of a queue, and the answer: ``ok``, ``fail`` (surely not done) or ``info`` (nobody knows)."""

    uid: str
    queue: str
    invoked: float
    facts: dict[str, Any]
    answer: str = "info"
    answered: float = math.inf

    @property
    def ok(self) -> bool:
        return self.answer == "ok"


@dataclass
class Run:
    """One start of a job on a worker."""

    uid: str
    run: str
    queue: str
    pid: int
    node: str
    alone: bool  # no other process ran this job as it began
    begun: float
    ended: float = math.inf
    ok: bool | None = None  # None: it never said
    dies: bool = False  # and ends its worker's process with it


@dataclass
class Fault:
    """Something done to the cluster on purpose, from its first effect until it was healed."""

    id: str
    kind: str
    begun: float
    pids: frozenset[int]
    queues: frozenset[str]  # whose own process it hit
    nodes: frozenset[str] = frozenset()  # with all that was, or came, there
    stores: frozenset[str] = frozenset()  # queues whose database was away: what came of a run waits until it is back
    ended: float = math.inf

    def covers(self, begun: float, ended: float) -> bool:
        """Whether it may have touched what went on in this time."""
        return self.begun <= ended + SETTLE_S and begun <= self.ended + SETTLE_S


@dataclass
class Suspension:
    """No job of the queue may start from ``begun`` until ``ended``."""

    queue: str
    begun: float
    ended: float = math.inf


@dataclass(frozen=True)
class Result:
    """What a waiter was told, and when."""

    waiter: str
    uid: str
    queue: str
    outcome: str  # done, abandoned, moved, cancelled, lost, gone: done and its large result lost; timeout, error: no end was told
    value: Any
    at: float


@dataclass
class History:
    """Everything that was recorded, by job."""

    queues: dict[str, QueueFacts] = field(default_factory=dict[str, QueueFacts])
    enqueued: dict[str, Call] = field(default_factory=dict[str, Call])
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict[str, list[Run]](list))
    cancels: dict[str, list[Call]] = field(default_factory=lambda: defaultdict[str, list[Call]](list))
    moves: dict[str, list[Call]] = field(default_factory=lambda: defaultdict[str, list[Call]](list))
    results: list[Result] = field(default_factory=list[Result])
    suspensions: list[Suspension] = field(default_factory=list[Suspension])
    faults: dict[str, Fault] = field(default_factory=dict[str, Fault])
    deaths: list[tuple[str, Fault]] = field(default_factory=list[tuple[str, Fault]])  # of workers, by the fault of this job
    places: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict[str, list[tuple[str, str]]](list))
    finals: list[Event] = field(default_factory=list[Event])
    left: list[Event] = field(default_factory=list[Event])
    plans: list[Event] = field(default_factory=list[Event])
    broken: list[Event] = field(default_factory=list[Event])
    dead_drivers: set[str] = field(default_factory=set[str])
    away: list[Fault] = field(default_factory=list[Fault])  # that took a queue away, or its database, in the order of time

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Put events in order. Raises `ValueError` for an event that it does not know, or an answer to nothing."""
        history = cls()
        by_run: dict[str, Run] = {}
        for event in sorted(events, key=lambda event: event.at):
            history._take(event, by_run)
        history.away = [fault for fault in history.faults.values() if (fault.stores or fault.queues) and fault.kind not in PAUSES]
        history.deaths = [(run.uid, _death_of(run)) for run in by_run.values() if run.dies or run.ok is None]
        return history

    def _take(self, event: Event, by_run: dict[str, Run]) -> None:
        at, what, facts = event
        match what.split("."):
            case ["queue"]:
                self.queues[facts["name"]] = QueueFacts(**facts)
            case ["enq", "invoke"]:
                self.enqueued[facts["uid"]] = Call(facts["uid"], facts["queue"], at, facts)
            case ["enq", answer]:
                _answered(self.enqueued[facts["uid"]], answer, at)
            case ["cancel" | "move" as verb, "invoke"]:
                calls = self.cancels if verb == "cancel" else self.moves
                calls[facts["uid"]].append(Call(facts["uid"], facts["queue"], at, facts))
            case ["cancel" | "move" as verb, answer]:
                _answered((self.cancels if verb == "cancel" else self.moves)[facts["uid"]][-1], answer, at)
            case ["start"]:
                run = by_run[facts["run"]] = Run(**facts, begun=at)
                self.runs[run.uid].append(run)
            case ["end"]:
                run = by_run[facts["run"]]
                run.ended, run.ok, run.dies = at, facts["ok"], facts.get("dies", False)
            case ["result"]:
                self.results.append(Result(**facts, at=at))
            case ["suspend", "ok"]:
                self.suspensions.append(Suspension(facts["queue"], at))
            case ["resume", "invoke"]:
                for suspension in self.suspensions:
                    if suspension.queue == facts["queue"]:
                        suspension.ended = min(suspension.ended, at)
            case ["fault"]:
                self.faults[facts["id"]] = Fault(facts["id"], facts["kind"], at, frozenset(facts["pids"]), frozenset(facts["queues"]),
                                                 frozenset(facts.get("nodes", ())), frozenset(facts.get("stores", ())))
                self.dead_drivers.update(facts.get("drivers", ()))
            case ["healed"]:
                self.faults[facts["id"]].ended = at
            case ["place"]:
                self.places[facts["uid"]].append((facts["queue"], facts["state"]))
            case ["final"]:
                self.finals.append(event)
            case ["left"]:
                self.left.append(event)
            case ["plan"]:
                self.plans.append(event)
            case ["broken"]:
                self.broken.append(event)
            case _:
                raise ValueError(f"{what!r} is no event of a history")

    # -- what rules ask ------------------------------------------------------------------------

    def acknowledged(self) -> Iterator[Call]:
        """The enqueues that were answered with ok."""
        return (call for call in self.enqueued.values() if call.ok)

    def faults_on(self, runs: Iterable[Run]) -> list[Fault]:
        """The faults that may have kept the outcome of one of these runs from its queue."""
        runs = list(runs)
        deaths = [(uid, death) for uid, death in self.deaths if any(self.queues[run.queue].shared and run.uid != uid for run in runs)]
        return [fault for fault in [*self.faults.values(), *(death for _, death in deaths)] if any(self._hit(fault, run) for run in runs)]

    def _hit(self, fault: Fault, run: Run) -> bool:
        """A durable queue that dies gets its workers' answers when it is back; a memory queue forgets that it asked."""
        touched = run.pid in fault.pids or run.node in fault.nodes or (run.queue in fault.queues and not self.queues[run.queue].durable)
        return touched and fault.kind not in PAUSES and fault.covers(run.begun, self._written(run.queue, run.ended))

    def _written(self, queue: str, ended: float) -> float:
        """When what came of a run could be written down at last: not before its queue, and the queue's database, were back."""
        for fault in self.away:
            if queue in fault.stores | fault.queues and fault.covers(ended, ended):
                ended = max(ended, fault.ended)
        return ended

    def faults_at(self, queue: str, begun: float, ended: float) -> list[Fault]:
        """The deaths of a queue's own process in this time."""
        return [fault for fault in self.faults.values()
                if queue in fault.queues and fault.kind not in PAUSES and fault.covers(begun, ended)]

    def faults_at_deaths(self, runs: Iterable[Run]) -> list[Fault]:
        """The deaths of a queue as its worker died with one of these runs: nobody knows then how that ended."""
        died = [(run, _death_of(run)) for run in runs if run.dies or run.ok is None]
        return [fault for run, death in died for fault in self.faults_at(run.queue, death.begun, self._written(run.queue, death.ended))]

    def deaths_in_company(self, runs: Iterable[Run]) -> list[Run]:
        """Those of these runs that ended a worker which had another job in hand, or whose answer was still on its way: nobody is blamed."""
        return [run for run in runs if run.dies and self.queues[run.queue].shared and any(
            other.pid == run.pid and other.uid != run.uid and other.begun <= run.ended and run.ended - other.ended < SETTLE_S
            for others in self.runs.values() for other in others)]

    def lost_cancels(self, uid: str) -> list[Fault]:
        """The deaths of a queue as it had the worker of this job ended for a cancel: the answer may have been lost with the worker."""
        return [fault for cancel in self.cancels.get(uid, ()) if cancel.facts.get("running")
                for fault in self.faults_at(cancel.queue, cancel.invoked, min(cancel.answered, cancel.invoked + SETTLE_S))]

    def split_by_move(self, uid: str) -> list[Fault]:
        """The faults that fell between the halves of a move of this job, so that two queues may hold it."""
        found = [fault for move in self.moves.get(uid, ()) for queue in (move.queue, move.facts["to"])
                 for fault in self.faults_at(queue, move.invoked, min(move.answered, move.invoked + 120))]
        failed = [run for run in self.runs.get(uid, ()) if run.ok is not True and self.queues[run.queue].moves_to is not None]
        return found + [fault for run in failed for fault in self.faults_at(run.queue, run.begun, run.ended)]

    def heard(self) -> dict[str, list[Result]]:
        """The results by job."""
        by_uid: dict[str, list[Result]] = defaultdict(list)
        for result in self.results:
            by_uid[result.uid].append(result)
        return by_uid


def _death_of(run: Run) -> Fault:
    """What a job did to the worker that it ran on: ended it, or had it killed while it ran; until its queue knows how it ended."""
    ended = (run.ended if run.dies else run.begun + SETTLE_S) + BURIAL_S
    return Fault(f"death of {run.run}", "death", run.begun, frozenset({run.pid}), frozenset(), ended=ended)


def _answered(call: Call, answer: str, at: float) -> None:
    if call.answer != "info" or call.answered != math.inf:
        raise ValueError(f"job {call.uid} has two answers to one call: {call.answer} and {answer}")
    if answer not in ("ok", "fail", "info"):
        raise ValueError(f"{answer!r} is no answer")
    call.answer, call.answered = answer, at
