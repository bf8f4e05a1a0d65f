"""What a queue has taken it keeps, in one place, until the job is done or taken off."""

from __future__ import annotations

from collections.abc import Iterator

from honeydew_ray.job import JobState
from tests.hammer.history import Call, History, Result

Finding = tuple[str, str]


def lost(history: History) -> Iterator[Finding]:
    """An acknowledged job was done, or is in a visible place, or was cancelled.

    A memory queue may lose what it had at its death, and must tell whoever waits.
    """
    heard = history.heard()
    for call in history.acknowledged():
        uid, told = call.uid, {result.outcome for result in heard.get(call.uid, ())}
        if any(run.ok for run in history.runs.get(uid, ())) or history.places.get(uid) or _may_be_cancelled(history, uid, told):
            continue
        if not _may_die_with_its_queue(history, call):
            yield uid, f"was acknowledged by queue {call.queue!r}, and is neither done nor anywhere"
        elif told - {"lost", "abandoned"}:  # abandoned: in the dead list, which died with the queue
            yield uid, f"was lost with queue {call.queue!r}, whose waiter was told something else: {sorted(told)}"


def _may_die_with_its_queue(history: History, call: Call) -> bool:
    for move in history.moves.get(call.uid, ()):
        if move.ok and history.queues[move.facts["to"]].durable:
            return False
    return not history.queues[call.queue].durable and bool(history.faults_at(call.queue, call.answered, float("inf")))


def _may_be_cancelled(history: History, uid: str, told: set[str]) -> bool:
    if "cancelled" in told:
        return True
    for call in history.cancels.get(uid, ()):
        if call.answer in ("ok", "info"):
            return True
        if history.faults_at(call.queue, call.invoked, call.answered):  # an earlier try had worked, and its answer was lost
            return True
    return False


def unexpected(history: History) -> Iterator[Finding]:
    """Nothing runs, and nothing is anywhere, that nobody tried to enqueue."""
    for uid in history.runs.keys() | history.places.keys():
        if uid not in history.enqueued:
            yield uid, "was never enqueued, and is here"


def phantom(history: History) -> Iterator[Finding]:
    """An enqueue that was refused has no effect."""
    for uid, call in history.enqueued.items():
        if call.answer == "fail" and (history.runs.get(uid) or history.places.get(uid)):
            yield uid, f"was refused by queue {call.queue!r}, and is here all the same"


def disposition(history: History) -> Iterator[Finding]:
    """A job is in one place at the end: in two only if a fault came between the halves of a move, and never in one twice."""
    for uid, places in history.places.items():
        if len(places) > 1 and (len(set(places)) < len(places) or not history.split_by_move(uid)):
            yield uid, f"is in {len(places)} places: {places}"
    for result in history.results:
        places = history.places.get(result.uid, [])
        if result.outcome in ("done", "cancelled", "moved") and result.queue in dict(places):
            yield result.uid, f"ended as {result.outcome} in queue {result.queue!r}, and is there still"
        if result.outcome == "abandoned" and (result.queue, str(JobState.ABANDONED)) not in places and not _forgot(history, result):
            yield result.uid, f"was abandoned, and is not in the dead list of queue {result.queue!r}"


def _forgot(history: History, result: Result) -> bool:
    return not history.queues[result.queue].durable and bool(history.faults_at(result.queue, result.at, float("inf")))


def cancel(history: History) -> Iterator[Finding]:
    """What was cancelled never starts again."""
    for uid, calls in history.cancels.items():
        for call in calls:
            for run in history.runs.get(uid, ()):
                if call.ok and run.queue == call.queue and run.begun > call.answered:
                    yield uid, f"started {run.begun - call.answered:.3f} s after it was cancelled"
