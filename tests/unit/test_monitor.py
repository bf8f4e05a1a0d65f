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
from honeydew_ray.monitor import MERCY_S, CalledOff, Failed, Interrupted, JobMonitor, Order, Succeeded, Unharmed, Verdict, WorkerFate
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.transport import Attempt, Died, Lost, NotStarted, Raised, Report, Returned, Stopped
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
        assert verdict.failure.signal == 9


@pytest.mark.parametrize(
    ("order", "kind", "class_name"),
    [(Order.TIMEOUT, "timeout", "TimeoutError"), (Order.DRAIN, "exit", "WorkerStopped"), (Order.FENCE, "unresponsive", "WorkerSilent")],
)
@virtual
async def test_a_job_that_was_ended_says_by_what(order: Order, kind: str, class_name: str) -> None:
    watch = monitor(OneReport(Returned(None), 100.0, Died(DEAD)), timeout_s=7)
    running = asyncio.ensure_future(watch.watch())
    await asyncio.sleep(1)
    watch.end(order)
    verdict, _ = await running
    assert isinstance(verdict, (Failed, Interrupted))
    assert (verdict.failure.kind, verdict.failure.class_name) == (kind, class_name)


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


# -- in the company of other jobs of the same worker -------------------------------------------------


class Crowd(OneReport):
    """A transport to a worker that runs several jobs; whether it can ask for one to be stopped is given."""

    def __init__(self, can_stop: bool) -> None:
        super().__init__(Returned(None))
        self.can_stop = can_stop
        self.stops: list[Token] = []

    async def stop(self, worker: WorkerRef, token: Token) -> bool:
        assert worker is WORKER
        self.stops.append(token)
        return self.can_stop


def one_of_several(transport: OneReport, in_company: bool = True) -> JobMonitor:
    return JobMonitor(claimed(7), WORKER, transport, in_company=in_company)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [Order.TIMEOUT, Order.CANCEL])
@virtual
async def test_a_job_among_others_is_asked_to_stop_and_has_its_time_before_the_worker_is_killed(order: Order) -> None:
    transport = Crowd(can_stop=True)
    watch = one_of_several(transport)
    watch.end(order)
    await asyncio.sleep(MERCY_S - TICK)
    assert (transport.stops, transport.kills, watch.killed) == ([watch.token], 0, False)
    await asyncio.sleep(2 * TICK)
    assert (transport.stops, transport.kills, watch.killed) == ([watch.token], 1, True)


@virtual
async def test_a_job_among_others_that_stops_in_time_leaves_them_their_worker() -> None:
    transport = Crowd(can_stop=True)
    watch = one_of_several(transport)
    watch.end(Order.TIMEOUT)
    await asyncio.sleep(1)
    verdict = watch.answer(Stopped())
    assert isinstance(verdict, Failed)
    assert (verdict.failure.kind, verdict.failure.attempt, verdict.failure.node) == ("timeout", 1, "n1")
    assert verdict.failure.message.endswith("7 s, and was stopped")
    assert verdict.failure.signal is None, "its worker lives"
    assert watch.fate(Stopped()) is WorkerFate.FREE
    watch.conclude(watch.job)
    await asyncio.sleep(2 * MERCY_S)
    assert (transport.kills, watch.killed) == (0, False)


def test_a_job_that_an_earlier_process_of_the_queue_had_stopped_did_not_fail() -> None:
    watch = JobMonitor(claimed(), WORKER, Crowd(True), resumed=Token("a", 1, "i.0"))  # type: ignore[arg-type]
    verdict = watch.answer(Stopped())
    assert isinstance(verdict, Interrupted)
    assert (verdict.failure.class_name, verdict.failure.attempt, verdict.failure.node) == ("QueueRestarted", 1, "n1")
    assert watch.fate(Stopped()) is WorkerFate.FREE


@virtual
async def test_a_job_among_others_that_answers_late_but_before_its_end_is_settled_is_not_killed_for() -> None:
    transport = Crowd(can_stop=True)
    watch = one_of_several(transport)
    watch.end(Order.CANCEL)
    await asyncio.sleep(1)
    assert watch.answer(Returned(None)) == Succeeded(None)
    await asyncio.sleep(2 * MERCY_S)
    assert transport.kills == 0


@pytest.mark.parametrize("order", [Order.DRAIN, Order.FENCE])
@virtual
async def test_a_worker_that_hangs_as_it_is_asked_to_stop_a_job_is_killed_once_it_is_to_go(order: Order) -> None:
    class Hangs(Crowd):
        async def stop(self, worker: WorkerRef, token: Token) -> bool:
            return await asyncio.Event().wait()

    transport = Hangs(can_stop=True)
    watch = one_of_several(transport)
    watch.end(Order.TIMEOUT)
    await asyncio.sleep(2 * MERCY_S)
    watch.end(Order.CANCEL)
    assert (transport.kills, watch.killed) == (0, False), "it may compute"
    watch.end(order)
    watch.end(order)
    assert (transport.kills, watch.killed) == (1, True)
    verdict = watch.answer(Lost(Failure("unresponsive", "WorkerUnavailable", "gone")))
    assert isinstance(verdict, Failed)
    assert verdict.failure.kind == "timeout", "the first order counts"


@virtual
async def test_a_worker_that_cannot_stop_one_job_is_killed_at_once() -> None:
    transport = Crowd(can_stop=False)
    watch = one_of_several(transport)
    watch.end(Order.CANCEL)
    await asyncio.sleep(TICK)
    assert (len(transport.stops), transport.kills) == (1, 1)


@pytest.mark.parametrize(("order", "in_company"), [(Order.DRAIN, True), (Order.FENCE, True), *((order, False) for order in Order)])
@virtual
async def test_a_worker_that_is_to_go_or_has_no_other_job_is_not_asked_to_stop_one(order: Order, in_company: bool) -> None:
    transport = Crowd(can_stop=True)
    watch = one_of_several(transport, in_company)
    watch.end(order)
    assert transport.kills == 1
    await asyncio.sleep(2 * MERCY_S)
    assert (transport.stops, transport.kills) == ([], 1)


@pytest.mark.parametrize(
    ("order", "in_company", "verdict"),
    [
        (None, True, Interrupted),
        (None, False, Interrupted),
        (Order.TIMEOUT, False, Interrupted),
        (Order.TIMEOUT, True, Failed),
        (Order.CANCEL, True, CalledOff),
        (Order.CANCEL, False, CalledOff),
        (Order.DRAIN, True, Interrupted),
        (Order.FENCE, True, Interrupted),
    ],
)
@virtual
async def test_of_a_worker_lost_with_several_jobs_only_the_one_it_was_killed_for_failed(
    order: Order | None, in_company: bool, verdict: type
) -> None:
    watch = one_of_several(Crowd(can_stop=False), in_company)
    if order is not None:
        watch.end(order)
        await asyncio.sleep(TICK)
    reached = watch.answer(Lost(LOST))
    assert type(reached) is verdict
    if isinstance(reached, Interrupted) and order in (None, Order.TIMEOUT):
        assert reached.failure == placed(LOST)


@virtual
async def test_a_job_lost_before_its_worker_was_killed_for_it_was_lost_with_the_others() -> None:
    watch = one_of_several(Crowd(can_stop=True))
    watch.end(Order.TIMEOUT)
    await asyncio.sleep(TICK)
    assert watch.answer(Lost(LOST)) == Interrupted(placed(LOST))


@virtual
async def test_what_became_of_a_job_is_told_to_those_who_waited_and_those_who_ask_later() -> None:
    waited, late = one_of_several(Crowd(True)), one_of_several(Crowd(True))
    before = waited.concluded
    assert not before.done()
    for watch in (waited, late):
        watch.conclude(watch.job)
        assert watch.settled_as is watch.job
        assert await watch.concluded is watch.job
    assert waited.concluded is before
    assert late.concluded is late.concluded


def test_a_monitor_of_what_an_earlier_queue_issued_asks_under_its_token() -> None:
    old = Token("a", 1, "i.0")
    assert JobMonitor(claimed(), WORKER, Crowd(True), resumed=old).token == old  # type: ignore[arg-type]
    assert JobMonitor(claimed(), WORKER, Crowd(True)).token == Token("a", 1, "i.1")  # type: ignore[arg-type]
