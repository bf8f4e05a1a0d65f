"""One watch over one attempt: from each report to its verdict and the worker's fate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.lease import Lease, Verdicts
from honeydew_ray.monitor import CalledOff, Failed, Interrupted, JobMonitor, Order, Succeeded, Unharmed, Verdict, WorkerFate
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.transport import Attempt, Died, Lost, NotStarted, Raised, Report, Returned
from tests.unit.harness import TICK, now, virtual

BOOM = Failure("exception", "ValueError", "boom")
DEAD = Failure("signal", "WorkerKilled", "gone", signal=9)
LOST = Failure("node_lost", "NodeLost", "gone")
WORKER = WorkerRef("w1", "n1")


class OneReport:
    """A transport that gives one report after a while, or what a kill leads to."""

    def __init__(self, report: Report | Exception, after_s: float = 1.0, upon_kill: Report | None = None) -> None:
        self.report = report
        self.after_s = after_s
        self.upon_kill = upon_kill
        self.attempts: list[Attempt] = []
        self.kills = 0
        self._killed = asyncio.Event()

    async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
        assert worker is WORKER
        self.attempts += attempts
        try:
            await asyncio.wait_for(self._killed.wait(), self.after_s)
        except asyncio.TimeoutError:
            if isinstance(self.report, Exception):
                raise self.report from None
            return [self.report]
        return [self.upon_kill or self.report]  # type: ignore[list-item]

    def kill(self, worker: WorkerRef) -> None:
        self.kills += 1
        self._killed.set()


def claimed(timeout_s: float | None = None) -> JobRecord:
    return lifecycle.claimed(make_job("a", timeout_s=timeout_s), "i.1", 0.0)


class Watch(JobMonitor):
    """A monitor with a lease of its own."""

    async def watch(self) -> tuple[Verdict, WorkerFate]:
        [(monitor, verdict)], fate = await Lease([self], WORKER, self._transport, unheard).watch()
        assert monitor is self
        return verdict, fate


async def unheard(_: Verdicts) -> None:
    raise AssertionError("nothing is heard early")


def monitor(transport: OneReport, timeout_s: float | None = None) -> Watch:
    return Watch(claimed(timeout_s), WORKER, transport)  # type: ignore[arg-type]


def placed(failure: Failure) -> Failure:
    return failure.of_attempt(1, "n1")


@pytest.mark.parametrize(
    ("report", "verdict", "fate"),
    [
        (Returned(None), Succeeded(None), WorkerFate.FREE),
        (Raised(BOOM), Failed(placed(BOOM)), WorkerFate.SPOILT),
        (Raised(BOOM, spoilt=False), Failed(placed(BOOM)), WorkerFate.FREE),
        (NotStarted(worker_alive=True), Unharmed(), WorkerFate.FREE),
        (NotStarted(worker_alive=False), Unharmed(), WorkerFate.GONE),
        (NotStarted(worker_alive=True, spoilt=True), Unharmed(), WorkerFate.SPOILT),
        (Died(DEAD), Failed(placed(DEAD)), WorkerFate.GONE),
        (Lost(LOST), Interrupted(placed(LOST)), WorkerFate.GONE),
    ],
)
@virtual
async def test_each_report_has_its_verdict(report: Report, verdict: Verdict, fate: WorkerFate) -> None:
    transport = OneReport(report)
    watch = monitor(transport, timeout_s=5)
    assert await watch.watch() == (verdict, fate)
    assert watch.answered
    attempt, = transport.attempts
    assert attempt == Attempt(Token("a", 1, "i.1"), "work", False, watch.job.payload, watch.job.timeout_s)
    await asyncio.sleep(10)
    assert transport.kills == 0, "the timer ended with the watch"


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("upon_kill", [Returned(None), Raised(BOOM), NotStarted(worker_alive=False), Died(DEAD), Lost(LOST)])
@virtual
async def test_an_order_to_kill_is_told_apart_from_a_death_and_costs_the_worker(order: Order, upon_kill: Report) -> None:
    watch = monitor(OneReport(Returned(None), 100.0, upon_kill), timeout_s=7)
    running = asyncio.ensure_future(watch.watch())
    await asyncio.sleep(1)
    watch.end(order)
    verdict, fate = await running
    assert fate is WorkerFate.GONE
    assert type(verdict) is expected(order, upon_kill)
    if isinstance(upon_kill, Died) and order is Order.TIMEOUT:
        assert isinstance(verdict, Failed)
        assert verdict.failure.kind == "timeout"
        assert verdict.failure.message.endswith("7 s, and its worker was killed")


def expected(order: Order, upon_kill: Report) -> type:
    if isinstance(upon_kill, Returned):
        return Succeeded  # it was faster than the kill
    if isinstance(upon_kill, Raised):
        return Failed
    if order is Order.CANCEL:
        return CalledOff
    if isinstance(upon_kill, NotStarted):
        return Unharmed
    if isinstance(upon_kill, Lost) or order in (Order.DRAIN, Order.FENCE):
        return Interrupted
    return Failed


@virtual
async def test_the_first_order_counts_and_kills_once() -> None:
    transport = OneReport(Returned(None), 100.0, Died(DEAD))
    watch = monitor(transport)
    running = asyncio.ensure_future(watch.watch())
    await asyncio.sleep(1)
    watch.end(Order.DRAIN)
    watch.end(Order.CANCEL)
    assert isinstance((await running)[0], Interrupted)
    assert transport.kills == 1


@virtual
async def test_an_order_after_the_answer_changes_nothing() -> None:
    transport = OneReport(Returned(None))
    watch = monitor(transport)
    await watch.watch()
    watch.end(Order.CANCEL)
    assert transport.kills == 0
    assert watch.ordered is None


@virtual
async def test_the_timeout_orders_the_kill_at_its_very_moment() -> None:
    transport = OneReport(Returned(None), 100.0, Died(DEAD))
    watch = monitor(transport, timeout_s=7)
    running = asyncio.ensure_future(watch.watch())
    await asyncio.sleep(7 - TICK)
    assert transport.kills == 0
    await asyncio.sleep(2 * TICK)
    assert transport.kills == 1
    assert watch.ordered is Order.TIMEOUT
    await running
    assert now() < 7.1


@virtual
async def test_a_fault_of_the_transport_makes_sure_that_the_worker_is_dead() -> None:
    transport = OneReport(OSError("unplugged"))
    verdict, fate = await monitor(transport, timeout_s=5).watch()
    assert isinstance(verdict, Interrupted)
    assert verdict.failure.kind == "unresponsive"
    assert "unplugged" in verdict.failure.message
    assert fate is WorkerFate.GONE
    assert transport.kills == 1
