"""Jobs issued to one worker in one call, and the watch over them from issue to the last verdict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure, exception_text, exception_traceback
from honeydew_ray.monitor import JobMonitor, Order, Verdict, WorkerFate
from honeydew_ray.transport import Attempt, Lost, NotStarted, Report, Transport

log = logging.getLogger("honeydew_ray")

OVERDUE_S = 0.04
"""A lease of several jobs that lasts longer is cut short: what has not started goes to other workers."""

_ANSWER_S = 5.0  # how long a worker may take to say that a job which is out of time has ended

Verdicts = list[tuple[JobMonitor, Verdict]]


class Lease:
    """The jobs of one call to a worker, which runs them in order, one at a time.

    Invariants: each monitor has one verdict, from the first report on it; ``watch`` returns when the
    worker is done with all of them, or is known to be dead.
    """

    def __init__(self, monitors: Sequence[JobMonitor], worker: WorkerRef, transport: Transport,
                 heard_early: Callable[[Verdicts], Awaitable[None]], resumed: bool = False, spent_s: float = 0.0) -> None:
        self.monitors = monitors
        self.worker = worker
        self._transport = transport
        self._heard_early = heard_early
        self._resumed = resumed
        self._spent_s = spent_s  # of the only job's time, before it was resumed
        self._timers: list[asyncio.TimerHandle] = []
        self._narrowing: asyncio.Task[None] | None = None
        self._late: asyncio.Task[None] | None = None

    @property
    def open(self) -> list[JobMonitor]:
        """The monitors that have no verdict yet."""
        return [monitor for monitor in self.monitors if not monitor.answered]

    async def watch(self) -> tuple[Verdicts, WorkerFate]:
        """Issue the attempts, or take one over from an earlier process of the queue, and follow them to the end. Never raises.

        The verdicts that nobody heard early, and what is left of the worker.
        """
        if len(self.monitors) == 1:
            self._time(self.monitors[0], self._spent_s)
        else:
            self._timers.append(asyncio.get_running_loop().call_later(OVERDUE_S, self._overdue))
        try:
            reports = await self._reports()
        except Exception as error:  # a fault of the transport: how the attempts end is unknown, so make sure that they have
            await self._end_worker()
            return self._judged((monitor, Lost(_fault_of_monitor(error))) for monitor in self.open), WorkerFate.GONE
        finally:
            for timer in self._timers:
                timer.cancel()
        fates = [monitor.fate(report) for monitor, report in zip(self.monitors, reports, strict=True)]
        return self._judged(zip(self.monitors, reports, strict=True)), max(fates, key=_SEVERITY.index)

    async def cut_short(self) -> None:
        """Take back what has not started; on return none of it can start, and what was taken back is in line again."""
        if self._narrowing is None or self._narrowing.done():
            self._narrowing = asyncio.ensure_future(self._narrow())
        over = asyncio.ensure_future(asyncio.wait([monitor.concluded for monitor in self.monitors]))
        # a worker that hangs may never say what it has not started, but its death tells
        await asyncio.wait([over, self._narrowing], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()

    async def _narrow(self) -> None:
        monitors = self.open
        reports = await self._transport.take_back(self.worker, [monitor.token for monitor in monitors])
        told = list(zip(monitors, reports, strict=True))
        if len(self.monitors) > 1:  # else the timer runs from the start
            for monitor in (monitor for monitor, report in told if report is None and not monitor.answered):
                self._time(monitor, 0.0)
        await self._heard_early(self._judged((monitor, report) for monitor, report in told if report is not None))
        taken_back = [monitor.concluded for monitor, report in told if isinstance(report, NotStarted)]
        if taken_back:
            await asyncio.wait(taken_back)

    async def _end_worker(self) -> None:
        """The attempts may have reached it in spite of the fault: no other may begin before it is dead."""
        try:
            await self._transport.end(self.worker)
        except Exception:  # then it is told once more, and more cannot be done
            log.exception("it is not sure that worker %s is dead", self.worker.id)
            self._transport.kill(self.worker)

    def _overdue(self) -> None:
        self._narrowing = asyncio.ensure_future(self._narrow())

    async def _reports(self) -> Sequence[Report]:
        if self._resumed:
            return [await self._transport.resume(self.worker, self.monitors[0].token)]
        jobs = [(monitor.token, monitor.job) for monitor in self.monitors]
        attempts = [Attempt(token, job.method, job.is_function, job.payload, job.timeout_s) for token, job in jobs]
        return await self._transport.run(self.worker, attempts)

    def _time(self, monitor: JobMonitor, spent_s: float) -> None:
        timeout_s = monitor.job.timeout_s
        if timeout_s is not None and self._resumed and spent_s >= timeout_s:
            self._late = asyncio.ensure_future(self._end_unless_over(monitor))
        elif timeout_s is not None:
            left = max(timeout_s - spent_s, 0.0)
            self._timers.append(asyncio.get_running_loop().call_later(left, monitor.end, Order.TIMEOUT))

    async def _end_unless_over(self, monitor: JobMonitor) -> None:
        """A job whose time ran out while the queue had no process may have ended before: its answer must not die with its worker."""
        await asyncio.wait([asyncio.ensure_future(self._narrow())], timeout=_ANSWER_S)
        monitor.end(Order.TIMEOUT)

    def _judged(self, reports: Iterable[tuple[JobMonitor, Report]]) -> Verdicts:
        return [(monitor, monitor.answer(report)) for monitor, report in reports if not monitor.answered]


_SEVERITY = [WorkerFate.FREE, WorkerFate.SPOILT, WorkerFate.GONE]


def _fault_of_monitor(error: Exception) -> Failure:
    text = f"the watch over the attempt failed, and its worker was killed: {exception_text(error)}"
    return Failure("unresponsive", "MonitorFault", text, exception_traceback(error))
