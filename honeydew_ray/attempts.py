"""A queue's past, put together from its events: attempts, each on a lane, and what happened beside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from honeydew_ray.events import Event, EventKind
from honeydew_ray.failure import Failure

MAX_LANES = 16
"""Of one worker that runs several jobs at once; what finds no lane of its own is cut to fit the last."""

_ENDS = frozenset({EventKind.SUCCEEDED, EventKind.FAILED, EventKind.REDELIVERED, EventKind.RECALLED, EventKind.CANCELLED})
_NEWS = frozenset({
    EventKind.RETRYING, EventKind.MOVED, EventKind.ABANDONED, EventKind.REVIVED, EventKind.WORKER_STARTED, EventKind.WORKER_DIED,
    EventKind.WORKER_STOPPED, EventKind.NODE_LOST, EventKind.QUEUE_STARTED, EventKind.SUSPENDED, EventKind.RESUMED, EventKind.CANCELLED,
})
_IN_LINE = frozenset({EventKind.ENQUEUED, EventKind.RETRYING, EventKind.REDELIVERED, EventKind.RECALLED, EventKind.REVIVED})
_SLOT = re.compile(r"(?P<slot>.+/\d+)-\w+")


class Attempt(NamedTuple):
    """One attempt at one job. Times are seconds since the epoch.

    ``outcome`` is ``succeeded``, ``failed``, ``redelivered``, ``recalled``, ``cancelled``, or ``running`` if its end is not
    known; ``crashed``: its worker died with it. ``lane`` tells apart what one worker runs at once.
    """

    queue: str
    job_id: Any
    method: str
    number: int
    worker: str
    node: str
    started_at: float
    ended_at: float
    outcome: str = "running"
    waited_s: float = 0.0
    failure: Failure | None = None
    crashed: bool = False
    lane: int = 0

    @property
    def ran_s(self) -> float:
        """How long it ran, in seconds."""
        return self.ended_at - self.started_at


@dataclass(frozen=True)
class Past:
    """What happened in one queue or several, in order of time."""

    queues: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    news: tuple[Event, ...] = ()  # what is not an attempt: see `_NEWS`
    vain_waits: tuple[tuple[float, float], ...] = ()  # from when to when jobs waited that did not start, or have yet to
    begin: float = 0.0
    end: float = 0.0
    cut: bool = False  # there was more before that is not known
    slots: tuple[str, ...] = field(default=())  # places of workers, in the order to show them

    def waiting(self) -> list[tuple[float, int]]:
        """How many jobs that were due were waiting, at each time that it changed."""
        return _steps([*((attempt.started_at - attempt.waited_s, attempt.started_at) for attempt in self.attempts), *self.vain_waits])

    def running(self) -> list[tuple[float, int]]:
        """How many attempts ran, at each time that it changed."""
        return _steps((attempt.started_at, attempt.ended_at) for attempt in self.attempts)

    def again(self) -> list[tuple[Attempt, Attempt]]:
        """Each attempt that did not settle its job, with the next at the same job, in another queue too."""
        by_job: dict[Any, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            by_job[attempt.job_id].append(attempt)
        return [pair for line in by_job.values() for pair in pairwise(line)]


def past_of(events: Iterable[Event]) -> Past:
    """Put a past together. Events may come from several queues, in any order; what their beginning lacks is left out."""
    line = sorted(events, key=lambda event: (event.at, event.queue, event.number))
    if not line:
        return Past()
    first: dict[str, int] = {}
    for event in line:
        first[event.queue] = min(first.get(event.queue, event.number), event.number)
    attempts = _lanes(_attempts(line))
    begin = min(line[0].at, *(attempt.started_at - attempt.waited_s for attempt in attempts)) if attempts else line[0].at
    end = max(line[-1].at, *(attempt.ended_at for attempt in attempts)) if attempts else line[-1].at
    places = {slot_of(attempt.worker) for attempt in attempts} | {slot_of(event.worker) for event in line if event.worker}
    news = tuple(event for event in line if event.kind in _NEWS)
    cut = any(number > 1 for number in first.values())
    return Past(tuple(sorted(first)), tuple(attempts), news, _vain_waits(line, end), begin, end, cut, _in_order(places))


def slot_of(worker: str) -> str:
    """The place that a worker fills, which the one that replaces it fills next: ``photos/default/0``."""
    match = _SLOT.fullmatch(worker)
    return match["slot"] if match else worker


def _attempts(line: Sequence[Event]) -> list[tuple[Attempt, float]]:
    """Attempts in order of their start, each with when its end was told."""
    open_: dict[tuple[str, Any, int | None], Attempt] = {}
    ended: list[tuple[Attempt, float]] = []
    died: set[tuple[str, Any, str | None]] = set()
    for event in line:
        key = event.queue, event.job_id, event.attempt
        if event.kind is EventKind.STARTED:
            open_[key] = _begun(event, event.at)
        elif event.kind is EventKind.WORKER_DIED:
            died.add((event.queue, event.job_id, event.worker))
        elif event.kind in _ENDS and event.attempt is not None and event.worker is not None:
            began = open_.pop(key, None)
            if began is None:
                if event.ran_s is None:
                    continue  # what follows a failure, or an attempt that never ran
                began = _begun(event, event.at - event.ran_s)  # its start is not kept any more, or another process of the queue told it
            crashed = (event.queue, event.job_id, event.worker) in died
            ran_until = began.started_at + event.ran_s if event.ran_s is not None else event.at
            attempt = began._replace(ended_at=max(min(ran_until, event.at), began.started_at), outcome=event.kind.value,
                                     failure=event.failure, crashed=crashed)
            ended.append((attempt, event.at))
    now = line[-1].at
    ended += [(attempt._replace(ended_at=max(now, attempt.started_at)), now) for attempt in open_.values()]
    return sorted(ended, key=lambda pair: pair[0].started_at)


def _vain_waits(line: Sequence[Event], end: float) -> tuple[tuple[float, float], ...]:
    since: dict[tuple[str, Any], float] = {}
    waits: list[tuple[float, float]] = []
    for event in line:
        key = event.queue, event.job_id
        if event.kind in _IN_LINE:
            since[key] = event.at + (event.delay_s or 0.0)
        elif event.kind is EventKind.STARTED:
            since.pop(key, None)
        elif event.kind in (EventKind.CANCELLED, EventKind.MOVED) and key in since:
            waits.append((since.pop(key), event.at))
    waits += [(at, end) for at in since.values()]
    return tuple((at, until) for at, until in waits if at < until)


def _begun(event: Event, at: float) -> Attempt:
    return Attempt(event.queue, event.job_id, event.method or "", event.attempt or 0, event.worker or "", event.node or "", at, at,
                   waited_s=event.waited_s or 0.0)


def _lanes(attempts: Sequence[tuple[Attempt, float]]) -> list[Attempt]:
    """Each attempt on a lane of its worker, so that no two on a lane overlap."""
    busy_until: dict[str, list[float]] = defaultdict(list)
    placed: list[Attempt] = []
    for attempt in _one_by_one(attempts):
        lanes = busy_until[slot_of(attempt.worker)]
        free = next((lane for lane, until in enumerate(lanes) if until <= attempt.started_at), None)
        if free is None and len(lanes) < MAX_LANES:
            lanes.append(0.0)
            free = len(lanes) - 1
        lane = MAX_LANES - 1 if free is None else free
        started_at = max(attempt.started_at, lanes[lane])
        ended_at = max(attempt.ended_at, started_at)
        lanes[lane] = ended_at
        moved = lane != 0 or started_at != attempt.started_at
        placed.append(attempt._replace(lane=lane, started_at=started_at, ended_at=ended_at) if moved else attempt)
    return placed


def _one_by_one(attempts: Sequence[tuple[Attempt, float]]) -> list[Attempt]:
    """Jobs of one lease were issued at one moment and ran one after the other: give each its own time."""
    leases: dict[tuple[str, float], list[Attempt]] = defaultdict(list)
    told_at: dict[tuple[str, float], float] = {}
    for attempt, told in attempts:
        leases[attempt.worker, attempt.started_at].append(attempt)
        told_at[attempt.worker, attempt.started_at] = told
    spread: list[Attempt] = []
    for key, lease in leases.items():
        if len(lease) > 1 and sum(attempt.ran_s for attempt in lease) <= told_at[key] - lease[0].started_at:  # else they ran at once
            begins = accumulate((attempt.ran_s for attempt in lease), initial=lease[0].started_at)
            lease = [attempt._replace(started_at=at, ended_at=at + attempt.ran_s) for attempt, at in zip(lease, begins, strict=False)]
        spread += lease
    return sorted(spread, key=lambda attempt: attempt.started_at)


def _steps(spans: Iterable[tuple[float, float]]) -> list[tuple[float, int]]:
    changes: dict[float, int] = defaultdict(int)
    for begin, end in spans:
        changes[begin] += 1
        changes[end] -= 1
    times = sorted(changes)
    return list(zip(times, accumulate(changes[at] for at in times), strict=True))


def _in_order(slots: set[str]) -> tuple[str, ...]:
    def key(slot: str) -> tuple[str, int, str]:
        group, _, number = slot.rpartition("/")
        return (group, int(number), "") if number.isdecimal() else (slot, -1, slot)

    return tuple(sorted(slots, key=key))
