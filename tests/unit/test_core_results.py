"""Who hears how a job ended; and that one id is one job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.decisions import Requeue
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores.base import Opened, Page, Query
from honeydew_ray.stores.memory import MemoryStore
from tests.unit.harness import Bench, Rig, ScriptedMode, virtual


@virtual
async def test_the_client_that_submitted_is_sent_the_end_without_asking_for_it() -> None:
    bench = await Bench(rig=Rig(spoils=False)).open(workers=1)
    ids = await bench.submit_all("ok", "raise", client="me")
    silent = await bench.submit("ok", client=None)
    await bench.end(silent)
    got = await bench.collect()
    assert [job_id for _, job_id in got] == ids
    assert await bench.collect(acknowledged=got[-1][0]) == []


@pytest.mark.parametrize("when", ["pending", "delayed", "running", "deciding"])
@virtual
async def test_the_same_id_again_is_the_same_job(when: str) -> None:
    bench = await Bench(Retry(1, delay_s=5), rig=Rig(spoils=False)).open(workers=0 if when == "pending" else 1)
    script = ["raise", "ok"] if when == "deciding" else "sleep 3"
    job_id = await bench.submit(script, delay_s=3 if when == "delayed" else 0)
    await asyncio.sleep(1)
    await bench.submit("raise", id=job_id, client="again", priority=9)
    if when == "pending":
        await bench.group.ready("w1")
    assert (await bench.end(job_id)).state is JobState.DONE
    await asyncio.sleep(20)
    assert len(bench.started()) == (2 if when == "deciding" else 1)
    assert [job_id for _, job_id in await bench.collect("me")] == [job_id]
    assert [job_id for _, job_id in await bench.collect("again")] == [job_id]


@pytest.mark.parametrize(("script", "state"), [("ok", JobState.DONE), ("raise", JobState.ABANDONED)])
@virtual
async def test_the_same_id_after_the_end_does_not_run_again_and_who_asks_gets_the_end(script: str, state: JobState) -> None:
    bench = await Bench().open(workers=2)
    job_id = await bench.submit(script)
    await bench.end(job_id)
    await bench.submit("ok", id=job_id, client="again")
    assert [name for _, name in await bench.collect("again")] == [job_id]
    assert await bench.state(job_id) is state
    assert bench.started() == [job_id]


@virtual
async def test_the_same_id_after_a_cancel_stays_cancelled() -> None:
    bench = await Bench().open()
    job_id = await bench.submit()
    await bench.core.cancel(job_id)
    await bench.submit(id=job_id, client="again")
    await bench.group.ready("w1")
    await asyncio.sleep(10)
    assert bench.started() == []
    assert [name for _, name in await bench.collect("again")] == [job_id]


@virtual
async def test_one_id_twice_in_one_call_is_one_job() -> None:
    bench = await Bench().open(workers=2)
    job = bench.job("ok")
    await bench.core.enqueue([job, job])
    await bench.end(job.id)
    assert bench.started() == [job.id]


@virtual
async def test_the_end_of_a_job_is_told_to_all_who_wait_and_to_those_who_ask_later() -> None:
    bench = await Bench(result_ttl_s=100).open(workers=1)
    job_id = await bench.submit("sleep 1", client="submitter")
    assert await bench.core.expect([job_id, "nobody"], "early") == ["nobody"]
    assert (await bench.collect("early", patience_s=10))[0][1] == job_id
    assert (await bench.collect("submitter"))[0][1] == job_id
    await asyncio.sleep(50)
    assert await bench.core.expect([job_id], "late") == []
    assert (await bench.collect("late"))[0][1] == job_id
    await asyncio.sleep(50)
    assert await bench.core.expect([job_id], "too late") == [job_id]
    assert await bench.core.describe(job_id) is None


@virtual
async def test_the_end_of_an_abandoned_job_is_known_as_long_as_it_is_in_the_dead_list() -> None:
    bench = await Bench(result_ttl_s=100).open(workers=1)
    job_id = await bench.submit("raise")
    await bench.end(job_id)
    await asyncio.sleep(1000)
    assert await bench.core.expect([job_id], "late") == []
    (number, told), = await bench.collect("late")
    assert told == job_id
    assert await bench.state(job_id) is JobState.ABANDONED
    await bench.submit("ok", id=job_id, client="again")
    await asyncio.sleep(10)
    assert bench.started() == [job_id], "and its id is not free"
    assert [name for _, name in await bench.collect("again")] == [job_id], "whoever gave it again is not left waiting"
    bench.revive("w1", epoch=2)
    await bench.core.retry(job_id)
    await asyncio.sleep(10)
    assert bench.started() == [job_id] * 2
    assert await bench.collect("late", acknowledged=number) == [], "it has had the end that it asked for"


@virtual
async def test_whoever_asked_for_a_job_in_vain_is_not_sent_its_end_when_it_comes_after_all() -> None:
    bench = await Bench().open(workers=1)
    assert await bench.core.expect(["later"], "early") == ["later"]
    await bench.end(await bench.submit(id="later"))
    assert await bench.collect("early") == []


@virtual
async def test_ends_that_the_store_remembers_are_known_to_the_next_process_of_the_queue() -> None:
    class Remembering(MemoryStore):
        async def open(self, queue: str) -> Opened:
            opened = await super().open(queue)
            job = lifecycle.claimed(bench.job(id="old"), "an earlier one", 0.0)
            return Opened(opened.incarnation, opened.suspended, ended=[lifecycle.cancelled(job, bench.clock.now())])

    bench = Bench(store=Remembering())
    await bench.open()
    assert await bench.state("old") is JobState.CANCELLED
    assert (await bench.end("old")).state is JobState.CANCELLED


@virtual
async def test_one_may_ask_for_more_jobs_at_once_than_a_page_holds() -> None:
    bench = await Bench().open()
    ids = await bench.submit_all(*["ok"] * 1001, client=None)
    assert await bench.core.expect([*ids, "nobody"], "late") == ["nobody"]


@virtual
async def test_a_description_carries_no_result_but_all_the_rest() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("ok")
    await bench.end(job_id)
    snapshot = await bench.core.describe(job_id)
    assert snapshot is not None
    assert (snapshot.state, snapshot.attempts, snapshot.method, snapshot.result) == (JobState.DONE, 1, "work", None)
    assert await bench.core.describe("nobody") is None


@virtual
async def test_jobs_are_listed_page_by_page() -> None:
    bench = await Bench().open()
    ids = await bench.submit_all(*["ok"] * 5)
    page = await bench.core.page(Query(state=JobState.PENDING), limit=3)
    rest = await bench.core.page(Query(state=JobState.PENDING), page.cursor, limit=3)
    assert [job.id for job in [*page.jobs, *rest.jobs]] == ids
    assert rest.cursor is None


@virtual
async def test_those_who_only_look_get_the_same_pages_without_what_needs_a_class_of_the_users() -> None:
    bench = await Bench(ScriptedMode(Requeue(100.0, private={1, 2}))).open(workers=1)
    ids = await bench.submit_all("raise", "raise", "raise")
    await asyncio.sleep(1)
    for worker in ("w2", "w3"):
        await bench.group.ready(worker)
        await asyncio.sleep(1)
    page = await bench.core.listing(Query(state=JobState.DELAYED), limit=2)
    rest = await bench.core.listing(Query(state=JobState.DELAYED), page.cursor, limit=2)
    assert [job.id for job in page.jobs] == ids[:2]
    assert [job.id for job in rest.jobs] == ids[2:]
    assert [job.private for job in [*page.jobs, *rest.jobs]] == ["{1, 2}"] * 3
    assert [job.id for job in (await bench.core.listing(Query(state=JobState.PENDING))).jobs] == []


class Lagging(MemoryStore):
    """Takes a job off at once and says so later, as a store does whose commits overlap; its pages may take a while too."""

    overlapping = True

    def __init__(self, page_s: float = 0.0) -> None:
        super().__init__()
        self.page_s = page_s

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        held = await super().ack(jobs)
        await asyncio.sleep(1.0)
        return held

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        found = await super().page(query, cursor, limit)
        await asyncio.sleep(self.page_s)
        return found


class Late(Lagging):
    """Takes a job off only when it says so."""

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        await asyncio.sleep(1.0)
        return await MemoryStore.ack(self, jobs)


@virtual
async def test_a_job_whose_end_is_being_written_is_known_all_along() -> None:
    bench = await Bench(store=Lagging()).open(workers=1)
    job_id = await bench.submit("sleep 1")
    seen = []
    while not seen or seen[-1] is not JobState.DONE:
        seen.append(await bench.state(job_id))
        await asyncio.sleep(0.1)
    assert set(seen) == {JobState.IN_PROGRESS, JobState.DONE}
    assert len(seen) > 15, "the end was told before it was written"


class LateOutside(Late):
    """Others reach it too."""

    outside = True


@pytest.mark.parametrize("store", [Lagging, Late, LateOutside])
@virtual
async def test_a_job_that_ends_while_it_is_looked_for_is_known(store: type[Lagging]) -> None:
    bench = await Bench(store=store(page_s=0.5)).open(workers=1)
    for asked_at in (0.6, 1.6, 1.9):  # before its end, while that is written, and so that it is told during the look
        job_id = await bench.submit("sleep 1")
        await asyncio.sleep(asked_at)
        assert await bench.core.expect([job_id], f"asked at {asked_at}") == []
        assert [name for _, name in await bench.collect(f"asked at {asked_at}", patience_s=10)] == [job_id]
        job_id = await bench.submit("sleep 1")
        await asyncio.sleep(asked_at)
        snapshot = await bench.core.describe(job_id)
        assert snapshot is not None
        assert snapshot.result is None, "whoever looks needs no result"
        await bench.end(job_id)


@virtual
async def test_a_job_to_be_tried_again_starts_as_soon_as_the_store_has_it_in_line() -> None:
    class Slow(MemoryStore):
        overlapping = True

        async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
            await asyncio.sleep(1.0)
            return await super().nack(jobs)

    bench = await Bench(Retry(1), store=Slow(), rig=Rig(spoils=False)).open(workers=2)
    job_id = await bench.submit(["raise", "ok"])
    await asyncio.sleep(2)
    assert len(bench.start_times(job_id)) == 2
    assert await bench.state(job_id) is JobState.DONE
