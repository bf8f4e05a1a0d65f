"""The watch kept over one attempt, from its issue to a verdict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure, exception_text, exception_traceback
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.payload import Payload
from honeydew_ray.transport import Attempt, Died, Lost, NotStarted, Raised, Report, Returned, Transport


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


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job is done."""

    result: Payload | None


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

    def __init__(self, job: JobRecord, worker: WorkerRef, transport: Transport, resumed: Token | None = None, spent_s: float = 0.0) -> None:
        self.job = job
        self.token = resumed or job.token  # under which the worker has it
        self.worker = worker
        self.progress: Any = None
        self.ordered: Order | None = None
        self.answered = False  # the worker has finished with the attempt, one way or another
        self.concluded: asyncio.Future[JobRecord] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._resumed = resumed is not None
        self._spent_s = spent_s  # of the job's time, before it was resumed

    async def watch(self) -> tuple[Verdict, WorkerFate]:
        """Issue the attempt, or take it over from an earlier process of the queue, and follow it to its end. Never raises."""
        job = self.job
        timer: asyncio.TimerHandle | None = None
        if job.timeout_s is not None:
            timer = asyncio.get_running_loop().call_later(max(job.timeout_s - self._spent_s, 0.0), self.end, Order.TIMEOUT)
        try:
            if self._resumed:
                report = await self._transport.resume(self.worker, self.token)
            else:
                report = await self._transport.run(self.worker, Attempt(self.token, job.method, job.is_function, job.payload))
        except Exception as error:  # a fault of the transport: the attempt's end is unknown, so make sure of it
            self._transport.kill(self.worker)
            return Interrupted(self._placed(_fault_of_monitor(error))), WorkerFate.GONE
        finally:
            self.answered = True
            if timer is not None:
                timer.cancel()
        return self._verdict(report), self._fate(report)

    def end(self, order: Order) -> None:
        """Have the worker killed, unless it has answered; the first order given is the one that counts."""
        if self.ordered is None and not self.answered:
            self.ordered = order
            self._transport.kill(self.worker)

    def _verdict(self, report: Report) -> Verdict:
        match report:
            case Returned():
                return Succeeded(report.result)
            case Raised():
                return Failed(self._placed(report.failure))
            case NotStarted():
                return CalledOff() if self.ordered is Order.CANCEL else Unharmed()
            case Died():
                return self._verdict_on_death(report.failure)
            case Lost():
                return CalledOff() if self.ordered is Order.CANCEL else Interrupted(self._placed(report.failure))

    def _verdict_on_death(self, failure: Failure) -> Verdict:
        match self.ordered:
            case None:
                return Failed(self._placed(failure))
            case Order.TIMEOUT:
                text = f"the job ran longer than its timeout_s of {self.job.timeout_s:g} s, and its worker was killed"
                return Failed(self._placed(Failure("timeout", "TimeoutError", text)))
            case Order.CANCEL:
                return CalledOff()
            case Order.DRAIN:
                text = "the worker was stopped, and the job did not end within shutdown_s"
                return Interrupted(self._placed(Failure("exit", "WorkerStopped", text)))

    def _fate(self, report: Report) -> WorkerFate:
        if self.ordered is not None:
            return WorkerFate.GONE
        match report:
            case Returned():
                return WorkerFate.FREE
            case Raised():
                return WorkerFate.SPOILT if report.spoilt else WorkerFate.FREE
            case NotStarted():
                return WorkerFate.FREE if report.worker_alive else WorkerFate.GONE
            case Died() | Lost():
                return WorkerFate.GONE

    def _placed(self, failure: Failure) -> Failure:
        return failure.of_attempt(self.job.attempt, self.worker.node)


def _fault_of_monitor(error: Exception) -> Failure:
    text = f"the watch over the attempt failed, and its worker was killed: {exception_text(error)}"
    return Failure("unresponsive", "MonitorFault", text, exception_traceback(error))
