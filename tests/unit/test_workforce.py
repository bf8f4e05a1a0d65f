"""What the queue knows of its workers, and when one may be given a job."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.job import JobRecord
from honeydew_ray.lease import Lease, Verdicts
from honeydew_ray.monitor import JobMonitor
from honeydew_ray.readiness import ready_within
from honeydew_ray.roster import Roster, Spoilt, WorkerView
from honeydew_ray.status import WorkerState
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.scripted import ScriptedWorkers
from honeydew_ray.workforce import Workforce
from tests.unit.harness import now, virtual

JOB = make_job("a")


def view(worker_id: str, ready: bool = True, epoch: int = 1) -> WorkerView:
    return WorkerView(WorkerRef(worker_id, "n1"), WorkerState.IDLE if ready else WorkerState.STARTING, ready, epoch)


def roster(serial: int, *views: WorkerView, group: str = "default", incarnation: str = "g1", **facts: object) -> Roster:
    return Roster(group, incarnation, serial, views, **facts)  # type: ignore[arg-type]


def workforce(*worker_ids: str) -> Workforce:
    """A workforce whose one group has these workers, ready and adopted."""
    force = Workforce(LRU())
    for ref in force.update(roster(1, *(view(worker_id) for worker_id in worker_ids))) or ():
        force.adopt(ref)
    return force


async def unheard(_: Verdicts) -> None:
    raise AssertionError("nothing is heard early")


def give(force: Workforce, job: JobRecord = JOB) -> Lease:
    """Give a job to the next worker."""
    worker = force.check_out(job)
    assert worker is not None
    transport = ScriptedWorkers()
    lease = Lease([JobMonitor(lifecycle.claimed(job, "i.1", 0.0), worker, transport)], worker, transport, unheard)
    force.serves(worker, lease)
    return lease


def names(refs: list[WorkerRef] | None) -> list[str] | None:
    return None if refs is None else [ref.id for ref in refs]


def test_a_roster_names_the_workers_that_are_newly_ready() -> None:
    force = Workforce(LRU())
    assert names(force.update(roster(1, view("a"), view("b", ready=False)))) == ["a"]
    force.adopt(WorkerRef("a"))
    assert names(force.update(roster(2, view("a"), view("b")))) == ["b"]
    assert force.available() == 1
    assert force.ready() == 1


@pytest.mark.parametrize("serial", [1, 2])
def test_an_older_or_repeated_roster_is_refused(serial: int) -> None:
    force = Workforce(LRU())
    force.update(roster(2, view("a")))
    assert force.update(roster(serial, view("b"))) is None
    assert [status.id for status in force.statuses()] == ["a"]


def test_serials_of_another_process_of_the_group_do_not_compare() -> None:
    force = Workforce(LRU())
    force.update(roster(9, view("a")))
    assert force.update(roster(1, view("b"), incarnation="g2")) is not None
    assert force.update(roster(10, view("a"))) is None, "the earlier process is no more"
    assert [status.id for status in force.statuses()] == ["b"]


def test_a_worker_that_was_lost_while_it_was_adopted_is_not_taken_in() -> None:
    force = Workforce(LRU())
    force.update(roster(1, view("a")))
    force.update(roster(2, view("a", ready=False)))
    force.adopt(WorkerRef("a"))
    force.update(roster(3))
    force.adopt(WorkerRef("a"))
    assert force.available() == 0


@virtual
async def test_a_worker_serves_one_job_at_a_time() -> None:
    force = workforce("a")
    monitor = give(force)
    assert force.check_out(JOB) is None
    assert force.available() == 0
    force.adopt(WorkerRef("a"))
    assert force.available() == 0, "adopted once more, it is busy all the same"
    force.finished(monitor)
    assert force.available() == 1
    force.finished(monitor)
    assert force.available() == 1


@virtual
async def test_the_end_of_an_earlier_job_does_not_free_a_worker_that_has_another() -> None:
    force = workforce("a")
    first = give(force)
    force.update(roster(2))
    for ref in force.update(roster(3, view("a"))) or ():
        force.adopt(ref)
    second = give(force)
    force.finished(first)
    assert force.available() == 0
    force.finished(second)
    assert force.available() == 1


@virtual
async def test_a_spoilt_worker_is_not_free_until_a_higher_epoch() -> None:
    force = workforce("a")
    force.finished(give(force), spoilt=True)
    assert force.available() == 0
    assert names(force.update(roster(2, view("a")))) == []
    force.adopt(WorkerRef("a"))
    assert force.available() == 0
    assert names(force.update(roster(3, view("a", epoch=2)))) == ["a"]
    force.adopt(WorkerRef("a"))
    assert force.available() == 1
    assert await force.spoilt("default", (), 0.0) == []


@virtual
async def test_a_worker_that_is_gone_does_not_come_back_while_its_roster_still_has_it() -> None:
    force = workforce("a")
    force.gone(WorkerRef("a"))
    force.gone(WorkerRef("a"))
    assert names(force.update(roster(2, view("a")))) == []
    force.adopt(WorkerRef("a"))
    assert force.available() == 0
    assert [status.state for status in force.statuses()] == [WorkerState.IDLE], "as its group sees it"
    force.update(roster(3))
    assert not force.rosters.is_barred("a"), "the memory of the dead does not grow"


@virtual
async def test_a_retired_worker_is_draining_and_not_free_again() -> None:
    force = workforce("a", "b")
    monitor = give(force)
    assert force.retire(["a", "b", "c"], "g1") == [monitor]
    assert [status.state for status in force.statuses()] == [WorkerState.DRAINING] * 2
    force.finished(monitor)
    assert force.available() == 0
    assert names(force.update(roster(2, view("a"), view("b"), view("c")))) == []
    force.update(roster(3))
    assert force.statuses() == []


@virtual
async def test_a_worker_that_an_earlier_process_of_its_group_was_to_end_is_told_to_the_next_one() -> None:
    force = workforce("a", "b", "c")
    force.retire(["a", "new"], "g1")
    assert force.dismiss(["b"], "g1") == ["b"]
    assert await force.spoilt("default", (), 1.0) == [], "who asked for it ends them"
    told = asyncio.ensure_future(force.spoilt("default", (), 60.0))
    await asyncio.sleep(1)
    force.update(roster(1, view("a", ready=False), view("b", epoch=3), view("c"), incarnation="g2"))
    leaves = Spoilt("b", 3, leaves=True)
    assert (await told, now()) == ([leaves], 2.0)
    assert await force.spoilt("default", [leaves], 1.0) == []
    force.update(roster(2, view("a"), view("b", epoch=3), view("c"), view("new"), incarnation="g2"))
    assert await force.spoilt("default", [leaves], 1.0) == [Spoilt("a", 1, leaves=True), Spoilt("new", 1, leaves=True)]
    force.retire(["a", "b", "new"], "g2")
    assert await force.spoilt("default", (), 1.0) == [], "the new process lets them go"
    force.update(roster(1, view("c"), view("new"), incarnation="g3"))
    assert await force.spoilt("default", (), 1.0) == [Spoilt("new", 1, leaves=True)]
    assert force.available() == 1
    told = asyncio.ensure_future(force.spoilt("default", [Spoilt("new", 1, leaves=True)], 60.0))
    before = now()
    await asyncio.sleep(1)
    force.retire(["c"], "g2")  # on its way for so long that the queue has heard of the next process before
    assert (await told, now() - before) == ([Spoilt("c", 1, leaves=True)], 1.0)


@virtual
async def test_a_group_that_leaves_takes_its_workers_along() -> None:
    force = workforce("a")
    other = force.update(roster(1, view("x"), group="gpu"))
    assert names(other) == ["x"]
    force.adopt(WorkerRef("x"))
    force.remove_group("gpu")
    force.remove_group("gpu")
    force.remove_group("never heard of")
    assert force.available() == 1
    assert force.update(roster(2, view("x"), group="gpu")) is None
    assert force.update(roster(1, view("x"), group="gpu", incarnation="g2")) is not None


@virtual
async def test_who_waits_for_spoilt_workers_is_woken_by_its_own_group_only() -> None:
    force = workforce("a")
    force.update(roster(1, group="gpu"))
    own = asyncio.ensure_future(force.spoilt("default", (), 10.0))
    others = asyncio.ensure_future(force.spoilt("gpu", (), 5.0))
    await asyncio.sleep(1)
    force.finished(give(force), spoilt=True)
    assert await own == [Spoilt("a", 1)]
    assert now() == pytest.approx(1)
    assert await others == []
    assert now() == pytest.approx(5)
    assert await force.spoilt("unheard of", (), 0.5) == []


def test_a_status_shows_why_a_worker_is_not_ready() -> None:
    force = Workforce(LRU())
    failed = replace(view("a", ready=False), state=WorkerState.FAILED_INIT, error="no database", pid=5)
    force.update(roster(1, failed))
    status, = force.statuses()
    assert (status.state, status.error, status.pid, status.job) == (WorkerState.FAILED_INIT, "no database", 5, None)


@virtual
async def test_who_waits_for_a_change_hears_of_it() -> None:
    force = workforce("a")
    changed = asyncio.ensure_future(force.change())
    await asyncio.sleep(1)
    assert not changed.done()
    force.retire(["a"], "g1")
    await asyncio.wait_for(changed, 1)


class Raising(LRU):
    def remove(self, worker: WorkerRef) -> None:
        raise RuntimeError("remove")


@virtual
async def test_a_dispatcher_that_raises_when_it_is_told_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    force = Workforce(Raising())
    for ref in force.update(roster(1, view("a"), view("b"))) or ():
        force.adopt(ref)
    force.gone(WorkerRef("a"))
    assert "raised on worker a" in caplog.text
    assert force.check_out(JOB) is None, "it would give the job to the dead"
    assert force.check_out(JOB) == WorkerRef("b")


# -- waiting for workers -------------------------------------------------------------------------


@virtual
async def test_workers_that_are_ready_are_found_in_no_time() -> None:
    assert await ready_within(workforce("a"), 1, 0)
    assert not await ready_within(workforce("a"), 2, 0)
    assert now() == 0


@pytest.mark.parametrize(("after_s", "found"), [(4.9, True), (5.0, True), (5.1, False)])
@virtual
async def test_workers_may_become_ready_until_the_patience_ends(after_s: float, found: bool) -> None:
    force = Workforce(LRU())
    force.update(roster(1, view("a")))
    asyncio.get_running_loop().call_later(after_s, force.adopt, WorkerRef("a", "n1"))
    assert await ready_within(force, 1, 5) is found
    assert now() == min(after_s, 5)
