"""What waiters are told, and what is left when all is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.hammer.history import CUT_OFF, PAUSES, History, Result

Finding = tuple[str, str]

FINAL = frozenset({"done", "abandoned", "moved", "cancelled", "lost", "gone"})


def result(history: History) -> Iterator[Finding]:
    """A waiter is told one end, and it is true."""
    told = Counter((one.waiter, one.uid) for one in history.results if one.outcome in FINAL)
    for (waiter, uid), times in told.items():
        if times > 1:
            yield uid, f"had {times} ends, all told to waiter {waiter}"
    for one in history.results:
        wrong = _untrue(history, one)
        if wrong is not None:
            yield one.uid, wrong


def _untrue(history: History, one: Result) -> str | None:
    runs = history.runs.get(one.uid, [])
    match one.outcome:
        case "done":
            real = any(run.run == one.value and run.ok for run in runs)
            return None if real else f"is said to be done, with the result of no run: {one.value!r}"
        case "abandoned":
            failed = any(run.ok is not True for run in runs) or _died_unheard(history, one)
            return None if failed else "is said to be abandoned, and no run of it failed"
        case "cancelled":
            return None if history.cancels.get(one.uid) else "is said to be cancelled, which nobody asked for"
        case "moved":
            there = one.value in {run.queue for run in runs} | dict(history.places.get(one.uid, ())).keys()
            taken_off = history.cancels.get(one.uid) or not history.queues[one.value].durable
            return None if there or taken_off else f"is said to be in queue {one.value!r}, and was never there"
        case "lost":
            excused = not history.queues[one.queue].durable and history.faults_at(one.queue, 0.0, one.at)
            return None if excused else f"is said to be lost with queue {one.queue!r}, which did not die, or keeps its jobs: {one.value}"
        case "gone":
            large = (call := history.enqueued.get(one.uid)) is not None and call.facts.get("large")
            fallen = any(one.queue in fault.queues or fault.kind in CUT_OFF for fault in history.faults.values() if fault.begun < one.at)
            return None if large and fallen else "is said to be done, and its result gone, though it was small or nothing that held it fell"
        case "error":
            return f"has no end, but an error: {one.value}"
        case _:
            return None  # timeout: a matter of liveness


def _died_unheard(history: History, one: Result) -> bool:
    """Whether a worker was killed meanwhile: perhaps under this job, before it could write down that it had started."""
    call = history.enqueued.get(one.uid)
    return call is not None and any(
        fault.pids and fault.kind not in PAUSES and fault.covers(call.invoked, one.at) for fault in history.faults.values())


def leak(history: History) -> Iterator[Finding]:
    """At the end nothing is waiting or running, and no process, actor or reserved CPU is left."""
    for event in history.finals:
        for what in ("pending", "delayed", "in_progress", "busy"):
            if event.facts[what]:
                yield "", f"queue {event.facts['queue']!r} still has {event.facts[what]} {what}"
    for event in history.left:
        for what in ("actors", "cpus", "processes"):
            if event.facts.get(what):
                yield "", f"left behind, {what}: {event.facts[what]}"


def liveness(history: History) -> Iterator[Finding]:
    """After the last fault was healed, all gets done without standing still, and everybody who waits is told."""
    patience_s = min((event.facts["patience_s"] for event in history.plans), default=60.0)
    for name in history.queues:
        if not any(event.facts["queue"] == name for event in history.finals):
            yield "", f"queue {name!r} was never seen empty"
    for event in history.finals:
        if event.facts["still_s"] > patience_s:
            yield "", f"nothing had changed for {event.facts['still_s']:.1f} s, and queue {event.facts['queue']!r} was not empty"
    heard = {one.uid for one in history.results if one.outcome in FINAL or one.outcome == "error"}
    for call in history.acknowledged():
        if call.facts.get("waits", True) and call.facts["driver"] not in history.dead_drivers and call.uid not in heard:
            yield call.uid, f"has a waiter, driver {call.facts['driver']}, who was not told its end"
    for event in history.broken:
        yield "", f"{event.facts['who']} ended with an error: {event.facts['error']}"


def exercised(history: History) -> Iterator[Finding]:
    """Something was tried: jobs ran, the planned faults happened; and without faults everything was acknowledged."""
    if not any(run.ok for runs in history.runs.values() for run in runs):
        yield "", "no job was done"
    planned = Counter[str]()
    for event in history.plans:
        planned.update(event.facts["faults"])
    happened = Counter(fault.kind for fault in history.faults.values())
    for kind, number in planned.items():
        if happened[kind] < number:
            yield "", f"{number} fault(s) of kind {kind!r} were planned, {happened[kind]} happened"
    if not history.faults:
        for call in history.enqueued.values():
            if not call.ok:
                yield call.uid, "was not acknowledged, though there was no fault"
