"""The watch kept over one attempt: what its end means for the job and for the worker."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from enum import Enum
from typing import Any

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.payload import Payload
from honeydew_ray.transport import Died, Lost, NotStarted, Raised, Report, Returned, Stopped, Transport

MERCY_S = 5.0
"""How long a job that is asked to stop may take to do so."""


class WorkerFate(Enum):
    """What an attempt left of its worker."""

    FREE = "free"
    SPOILT = "spoilt"  # its state must be rebuilt before it takes another job
    GONE = "gone"


class Order(Enum):
    """Why a monitor had its worker killed."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    DRAIN = "drain"
    FENCE = "fence"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job is done."""

    result: Payload | None
    ran_s: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job failed through its own fault: the failure mode decides."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt was lost through no fault of the job: it is redelivered, counted."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Unharmed:
    """The attempt never started: the job goes back as if nothing had been."""


@dataclass(frozen=True, slots=True)
class CalledOff:
    """The job was cancelled while it ran."""


Verdict = Succeeded | Failed | Interrupted | Unharmed | CalledOff


class JobMonitor:
    """Watches one attempt at one job.

    Invariant: a verdict is reached once, and only after the worker has answered or is known to be
    dead; so no second attempt starts while the first may still run.
    """

    def __init__(self, job: JobRecord, worker: WorkerRef, transport: Transport, resumed: Token | None = None,
                 in_company: bool = False) -> None:
        self.job = job
        self.token = resumed or job.token  # under which the worker has it
        self.worker = worker
        self.in_company = in_company  # its worker runs several jobs at once
        self.progress: Any = None
        self.ordered: Order | None = None
        self.killed = False  # its worker was, by order
        self.answered = False  # the worker has finished with the attempt, one way or another
        self.settled_as: JobRecord | None = None  # what became of the job, once the store has it
        self._concluded: asyncio.Future[JobRecord] | None = None  # made only for who waits: most have nobody
        self._transport = transport
        self._stopping: asyncio.Future[None] | None = None

    @property
    def concluded(self) -> asyncio.Future[JobRecord]:
        """Done, with what became of the job, once the store has it."""
        if self._concluded is None:
            self._concluded = asyncio.get_running_loop().create_future()
            if self.settled_as is not None:
                self._concluded.set_result(self.settled_as)
        return self._concluded

    def conclude(self, record: JobRecord) -> None:
        """The store has what became of the job."""
        self.settled_as = record
        if self._concluded is not None:
            self._concluded.set_result(record)

    def answer(self, report: Report) -> Verdict:
        """The verdict that a report leads to; no other follows."""
        self.answered = True
        return self._verdict(report)

    def fate(self, report: Report) -> WorkerFate:
        """What the attempt left of its worker."""
        if self.killed:
            return WorkerFate.GONE
        match report:
            case Returned() | Stopped():
                return WorkerFate.FREE
            case Raised():
                return WorkerFate.SPOILT if report.spoilt else WorkerFate.FREE
            case NotStarted():
                alive = WorkerFate.SPOILT if report.spoilt else WorkerFate.FREE
                return alive if report.worker_alive else WorkerFate.GONE
            case Died() | Lost():
                return WorkerFate.GONE

    def end(self, order: Order) -> None:
        """Have the job ended, by killing its worker, unless it has answered; the first order given is the one that counts.

        A worker that has other jobs in hand is asked to stop just this one first, and has `MERCY_S` for it, unless it is to go
        itself: one that hangs would not even answer.
        """
        if self.answered:
            return
        merciful = self.in_company and order not in (Order.DRAIN, Order.FENCE)
        if self.ordered is None:
            self.ordered = order
            if merciful:
                self._stopping = asyncio.ensure_future(self._stop())
        if not merciful and not self.killed:
            self._kill()

    async def _stop(self) -> None:
        if await self._transport.stop(self.worker, self.token):
            await asyncio.wait([self.concluded], timeout=MERCY_S)
        self._kill()

    def _kill(self) -> None:
        if not self.answered:
            self.killed = True
            self._transport.kill(self.worker)

    def _verdict(self, report: Report) -> Verdict:
        match report:
            case Returned():
                return Succeeded(report.result, report.ran_s)
            case Raised():
                return Failed(self._placed(report.failure))
            case NotStarted():
                return CalledOff() if self.ordered is Order.CANCEL else Unharmed()
            case Died():
                return self._verdict_on_death(report.failure)
            case Stopped() if self.ordered is not None:
                return self._verdict_as(self.ordered)
            case Stopped():  # whether it was out of time or cancelled is not known any more
                text = "the queue's process ended after it had told the worker to stop the job"
                return Interrupted(self._placed(Failure("exit", "QueueRestarted", text)))
            case Lost() if self.killed and self.in_company:  # the kill met others too, but was meant for this one
                return self._verdict_on_death(report.failure)
            case Lost():
                return CalledOff() if self.ordered is Order.CANCEL else Interrupted(self._placed(report.failure))

    def _verdict_on_death(self, failure: Failure) -> Verdict:
        return Failed(self._placed(failure)) if self.ordered is None else self._verdict_as(self.ordered)

    def _verdict_as(self, order: Order) -> Verdict:
        match order:
            case Order.TIMEOUT:
                what = "its worker was killed" if self.killed else "was stopped"
                text = f"the job ran longer than its timeout_s of {self.job.timeout_s:g} s, and {what}"
                return Failed(self._placed(Failure("timeout", "TimeoutError", text, signal=int(signal.SIGKILL) if self.killed else None)))
            case Order.CANCEL:
                return CalledOff()
            case Order.DRAIN:
                text = "the worker was stopped, and the job did not end within shutdown_s"
                return Interrupted(self._placed(Failure("exit", "WorkerStopped", text)))
            case Order.FENCE:
                text = "the worker neither answered nor computed for probe_timeout_s, and was killed"
                return Interrupted(self._placed(Failure("unresponsive", "WorkerSilent", text)))

    def _placed(self, failure: Failure) -> Failure:
        return failure.of_attempt(self.job.attempt, self.worker.node)
