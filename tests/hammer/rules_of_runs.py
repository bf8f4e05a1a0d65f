"""When a job may run, how often, and beside what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from honeydew_ray.isolation import ALONE_S
from tests.hammer.history import CUT_OFF, PAUSES, History, Run

Finding = tuple[str, str]

RECALL_S = 0.5
"""A job that its worker had begun as the queue was suspended may take so long to say so."""

CLOCK_S = 0.005
"""How far two readings of the clock may seem to be in the wrong order: a process may be held up between an act and its note."""


def duplicated(history: History) -> Iterator[Finding]:
    """A job is done once, and once more at most for each fault that kept an outcome from its queue."""
    for uid, runs in history.runs.items():
        done = sorted((run for run in runs if run.ok), key=lambda run: run.ended)
        again = len(done) - 1
        if again < 1:
            continue
        split = history.split_by_move(uid) + history.lost_cancels(uid)
        untouched = [run for run in done[:-1] if not history.faults_on([run])]
        faults = {fault.id for fault in [*history.faults_on(done), *split]}
        if untouched and not split:
            yield uid, f"was done {len(done)} times, though no fault touched run {untouched[0].run}"
        elif again > len(faults):
            yield uid, f"was done {len(done)} times, with {len(faults)} fault(s) to excuse it"


def overlap(history: History) -> Iterator[Finding]:
    """A job does not run beside itself, but while a worker that was cut off has not noticed that it is dead."""
    for uid, runs in history.runs.items():
        in_order = sorted(runs, key=lambda run: run.begun)
        for index, run in enumerate(in_order):
            earlier = in_order[:index]
            beside = [other for other in earlier if other.ok is not None and other.ended > run.begun]
            if beside and not _excused(history, uid, beside):
                yield uid, f"runs {beside[0].run} and {run.run} ran at the same time"
            elif not run.alone and not _excused(history, uid, earlier):
                yield uid, f"run {run.run} began while another process ran the job"


def _excused(history: History, uid: str, others: list[Run]) -> bool:
    """Whether a process that still runs the job may be out of its queue's sight, or the job be in two queues."""
    for fault in history.faults_on(others):
        if fault.kind in CUT_OFF or any(other.queue in fault.queues and not history.queues[other.queue].durable for other in others):
            return True
    return bool(history.split_by_move(uid))


def suspend(history: History) -> Iterator[Finding]:
    """Nothing starts while the queue is suspended; a memory queue that died meanwhile has forgotten that it was."""
    for suspension in history.suspensions:
        queue, begun, ended = suspension.queue, suspension.begun, suspension.ended
        if not history.queues[queue].durable and history.faults_at(queue, begun, ended):
            continue
        halted = {pid for fault in history.faults.values() if fault.kind in PAUSES and fault.covers(begun, ended) for pid in fault.pids}
        for run in itertools.chain.from_iterable(history.runs.values()):
            if run.queue == queue and begun + RECALL_S < run.begun < ended and run.pid not in halted:
                yield run.uid, f"started {run.begun - begun:.3f} s after queue {queue!r} was suspended"


def retry_bound(history: History) -> Iterator[Finding]:
    """A job starts at most 1 + times times, and once more for each redelivery, up to their cap; one given up started as often."""
    told = {(result.uid, result.queue) for result in history.results if result.outcome in ("abandoned", "moved")
            and not (history.queues[result.queue].shared and str(result.value).startswith("timeout:"))}  # its loop may have been held up
    for uid, runs in history.runs.items():
        for queue in {run.queue for run in runs}:
            facts, here = history.queues[queue], [run for run in runs if run.queue == queue]
            faults = {fault.id for fault in [*history.faults_on(here), *history.split_by_move(uid), *history.lost_cancels(uid),
                                              *history.faults_at_deaths(here)]}
            given_back = len(faults) + _blamed_on_nobody(history.deaths_in_company(here))
            most = 1 + facts.times + min(given_back, facts.max_redeliveries)
            if len(here) > most:
                yield uid, f"started {len(here)} times in queue {queue!r}, at most {most} are allowed (given back {given_back} time(s))"
            moved_by_hand = any(move.queue == queue for move in history.moves.get(uid, ()))
            if (uid, queue) in told and not faults and not moved_by_hand and len(here) < 1 + facts.times:
                yield uid, f"was given up by queue {queue!r} after {len(here)} start(s), though {1 + facts.times} are allowed"


def _blamed_on_nobody(deaths: list[Run]) -> int:
    """After a death in company the job has a worker to itself, unless it waits in vain for one, for so long."""
    counted: list[Run] = []
    for run in sorted(deaths, key=lambda run: run.begun):
        if not counted or run.begun - counted[-1].ended >= ALONE_S:
            counted.append(run)
    return len(counted)


def early(history: History) -> Iterator[Finding]:
    """A delayed job does not start before its time."""
    for uid, call in history.enqueued.items():
        due = call.invoked + call.facts.get("delay_s", 0.0)
        for run in history.runs.get(uid, ()):
            if run.begun < due - CLOCK_S:
                yield uid, f"started {due - run.begun:.3f} s before it was due"


def order(history: History) -> Iterator[Finding]:
    """With one producer, one worker and no fault, jobs start in the order they were acknowledged."""
    for facts in history.queues.values():
        if not facts.fifo or history.faults:
            continue
        calls = sorted((call for call in history.acknowledged() if call.queue == facts.name), key=lambda call: call.answered)
        begun = {uid: runs[0].begun for uid, runs in history.runs.items()}
        for one, next_one in itertools.pairwise(call.uid for call in calls if call.uid in begun):
            if begun[one] > begun[next_one]:
                yield one, f"started after job {next_one}, which was acknowledged later by queue {facts.name!r}"
