"""What becomes of a job after an attempt: the verdict, and where it matters the failure mode, say so."""

from __future__ import annotations

import logging
from typing import Any, Literal

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.clock import Clock
from honeydew_ray.decisions import Decision, Discard, MoveTo, Requeue
from honeydew_ray.errors import HoneydewError
from honeydew_ray.failure import Failure, type_name
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobRecord
from honeydew_ray.monitor import CalledOff, Failed, Interrupted, Succeeded, Unharmed, Verdict
from honeydew_ray.policies import Caller
from honeydew_ray.transport import Transport

NodeLoss = Literal["redeliver", "fail"]
"""What becomes of a job whose node is lost: it is redelivered, or the failure mode decides."""

log = logging.getLogger("honeydew_ray")


class Judge:
    """Turns a verdict into the job's next record.

    Every path ends in a record that keeps the job in some visible place: a failure mode that
    raises, hangs or answers nonsense, and a move that finds no queue, end in the dead list.
    """

    def __init__(self, failure_mode: FailureMode, transport: Transport, caller: Caller, clock: Clock, max_redeliveries: int,
                 node_loss: NodeLoss = "redeliver") -> None:
        self._failure_mode = failure_mode
        self._transport = transport
        self._caller = caller
        self._clock = clock
        self._max_redeliveries = max_redeliveries
        self._node_loss = node_loss

    def is_poison(self, job: JobRecord) -> bool:
        """Whether a job was given back too often to be run again."""
        return job.redeliveries > self._max_redeliveries

    async def judge(self, job: JobRecord, verdict: Verdict) -> JobRecord:
        """The record that the verdict leads to. Never raises for what user code does."""
        match verdict:
            case Succeeded():
                return lifecycle.succeeded(job, self._clock.now(), verdict.result)
            case Unharmed():
                return lifecycle.gave_back(job, self._clock.now())
            case CalledOff():
                return lifecycle.cancelled(job, self._clock.now())
            case Interrupted():
                return await self._interrupted(job, verdict.failure)
            case Failed():
                return await self._failed(job, verdict.failure)

    async def _interrupted(self, job: JobRecord, failure: Failure) -> JobRecord:
        if failure.kind == "node_lost" and self._node_loss == "fail":
            return await self._failed(job, failure)
        if job.redeliveries < self._max_redeliveries:
            log.warning("job %s is redelivered: %s", job.id, failure, extra=_facts(job, failure))
            return lifecycle.redelivered(job, failure)
        text = f"given back {job.redeliveries} times, which is the most allowed; last reason: {failure}"
        return await self._failed(job, Failure("poison", "PoisonJob", text, failure.traceback).of_attempt(job.attempt, failure.node))

    async def _failed(self, job: JobRecord, failure: Failure) -> JobRecord:
        decision, failure = await self._decide(job, failure)
        log.warning("job %s failed (%s); decision: %s", job.id, failure, decision, extra=_facts(job, failure))
        match decision:
            case Requeue():
                return lifecycle.retried(job, failure, self._clock.now(), decision.delay_s, decision.private)
            case Discard():
                return lifecycle.abandoned(job, failure, self._clock.now())
            case MoveTo():
                return await self._move(job, failure, decision.queue)

    async def _decide(self, job: JobRecord, failure: Failure) -> tuple[Decision, Failure]:
        try:
            decision: Any = await self._caller.call(self._failure_mode.decide, job, failure)
            if not isinstance(decision, (Discard, Requeue, MoveTo)):
                raise TypeError(f"decide returned {decision!r}, expected Discard(), Requeue(...) or MoveTo(...)")
        except Exception as fault:  # named by its type, as its repr is user code too
            return Discard(), failure.followed_by(fault, f"failure mode {type_name(type(self._failure_mode))} decided")
        return decision, failure

    async def _move(self, job: JobRecord, failure: Failure, queue: str) -> JobRecord:
        arriving = lifecycle.arrived(job, queue, self._clock.now(), failure)
        try:
            if queue == job.queue:
                raise HoneydewError(f"queue {queue!r} cannot move a failed job to itself; use Retry")
            await self._transport.enqueue(queue, [arriving])
            failpoints.hit("move.between")
        except Exception as fault:
            return lifecycle.abandoned(job, failure.followed_by(fault, f"moving the job to queue {queue!r}"), self._clock.now())
        return lifecycle.moved(job, queue, self._clock.now(), failure)


def _facts(job: JobRecord, failure: Failure) -> dict[str, Any]:
    """What an error tracker wants beside the message."""
    return {
        "honeydew_job_id": job.id, "honeydew_queue": job.queue, "honeydew_method": job.method, "honeydew_attempt": job.attempt,
        "honeydew_failure_kind": failure.kind, "honeydew_failure_class": failure.class_name,
        "honeydew_traceback": failure.traceback, "honeydew_node": failure.node,
    }
