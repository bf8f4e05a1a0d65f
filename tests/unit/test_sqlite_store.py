"""What the SQLite store promises beyond the contract of stores: its file, its commits, a full disk."""

from __future__ import annotations

import asyncio
import pickle
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.errors import PayloadError, QueueLost, StoreError
from honeydew_ray.failure import Failure
from honeydew_ray.job import CancelOutcome, JobRecord, JobState
from honeydew_ray.payload import HeldBuffer, Payload, dumps_whole
from honeydew_ray.stores import sqlite
from honeydew_ray.stores._file import JobFile
from honeydew_ray.stores._rows import LARGE_BYTES, LeftOut
from honeydew_ray.stores.base import Query
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

NOW = 1_700_000_000.0
FAILURE = Failure("signal", "WorkerKilled", "killed", "Traceback: here", signal=9, attempt=1, node="n1", exception=b"pickled")


def new(job_id: str, delay_s: float = 0.0, **facts: Any) -> JobRecord:
    return lifecycle.enqueued(make_job(job_id, **facts), "test", NOW, delay_s)


def large(job_id: str) -> JobRecord:
    payload = Payload(dumps_whole((None, ("x" * 2 * LARGE_BYTES,), {}), "x"), (HeldBuffer(b"b" * 200_000), HeldBuffer(b"c" * 100_000)))
    return lifecycle.enqueued(JobRecord(job_id, "test", "work", payload), "test", NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "jobs.db"


def drive(path: Path, **options: Any) -> StoreDriver:
    return StoreDriver(SQLiteStore(path, **options))


# -- the file


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(tmp_path / "jobs.db") in repr(SQLiteStore("~/jobs.db"))


def test_the_file_and_its_directory_are_private(path: Path) -> None:
    with drive(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["jobs.db"]


def test_reopening_restores_everything(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(new("a"), new("b", priority=3), new("c"), new("d", delay_s=60), new("e"), new("f"))
        first, failing, dead = (store.claim_one(NOW, only=job_id) for job_id in "aef")
        store.nack(lifecycle.redelivered(first, FAILURE))
        store.nack(lifecycle.retried(failing, FAILURE, NOW, 0, {"tries": 1}))
        store.nack(lifecycle.abandoned(dead, FAILURE, NOW))
        held = store.claim_one(NOW, only="c")
        store.remember_suspended(True)
        before = store.all()
        counts = store.counts()
    with drive(path) as store:
        assert store.opened.suspended
        assert [job.token for job in store.opened.held] == [held.token]
        assert store.counts() == counts
        after = {job.id: job for job in store.all()}
        assert list(after) == [job.id for job in before]
        assert after["e"].private == {"tries": 1}
        assert after["f"].last_error is not None
        assert (after["f"].last_error.signal, after["f"].last_error.traceback) == (9, "Traceback: here")
        assert after["f"].last_error.exception is None, "no pickle of an exception may be kept"
        assert (after["a"].redeliveries, after["e"].failures, after["d"].due_at) == (1, 1, NOW + 60)
        assert [job.id for job in store.claim(9, NOW)] == ["b", "a", "e"]
        assert [job.id for job in store.claim(9, NOW + 60)] == ["d"]
        assert store.ack(lifecycle.succeeded(store.opened.held[0], NOW, None)) == [True]


def test_large_payloads_stay_in_the_file_until_they_are_needed(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(large("big"), new("small"))
        image = store.store._image._jobs
        assert isinstance(image["big"].payload, LeftOut)
        assert not isinstance(image["small"].payload, LeftOut)
    with drive(path) as store:
        job = store.claim_one(NOW, only="big")
        assert job.payload.data == large("big").payload.data
        assert [buffer.fetch() for buffer in job.payload.buffers] == [b"b" * 200_000, b"c" * 100_000]
        store.nack(lifecycle.gave_back(job, NOW))
        assert store.page(Query(ids=["big"])).jobs[0].payload.buffers[1].fetch() == b"c" * 100_000


def test_large_payloads_are_not_read_for_whoever_does_not_look_at_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with drive(path) as store:
        store.enqueue(large("big"))
    monkeypatch.setattr(JobFile, "payloads", None)
    with drive(path) as store:
        for query in (Query(payloads=False), Query(ids=["big"], payloads=False)):
            assert [(job.id, job.state) for job in store.page(query).jobs] == [("big", JobState.PENDING)]


@pytest.mark.parametrize("ids", [None, ["a", "b", "c"]])
def test_a_page_ends_early_rather_than_load_too_much(path: Path, ids: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PAGE_BYTES", 500_000)
    with drive(path) as store:
        store.enqueue(large("a"), large("b"), large("c"))
        page = store.page(Query(ids=ids))
        assert [job.id for job in page.jobs] == ["a", "b"]
        assert [job.id for job in store.page(Query(ids=ids), page.cursor).jobs] == ["c"]
        bare = store.page(Query(ids=ids, payloads=False))
        assert ([job.id for job in bare.jobs], bare.cursor) == (["a", "b", "c"], None)


def test_dead_jobs_are_bounded_by_number_and_age(path: Path) -> None:
    with drive(path, max_abandoned=2, abandoned_ttl_s=100) as store:
        store.enqueue(*(new(job_id) for job_id in "abc"))
        for offset, job in enumerate(store.claim(3, NOW)):
            store.nack(lifecycle.abandoned(job, FAILURE, NOW + offset))
        assert [job.id for job in store.all()] == ["b", "c"]
        store.reserve(1, NOW + 101)
        assert [job.id for job in store.all()] == ["b", "c"]
        store.reserve(1, NOW + 101.5)
        assert [job.id for job in store.all()] == ["c"]
    with drive(path, max_abandoned=2, abandoned_ttl_s=100) as store:
        assert [job.id for job in store.all()] == ["c"]


def test_a_lowered_bound_of_dead_jobs_holds_from_the_next_claim_on(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(*(new(job_id) for job_id in "abcd"))
        store.nack(*(lifecycle.abandoned(job, FAILURE, NOW) for job in store.claim(4, NOW)))
    for _ in range(2):
        with drive(path, max_abandoned=1) as store:
            store.reserve(1, NOW)
            assert [job.id for job in store.all()] == ["d"]


def test_ends_are_kept_for_clients_that_have_not_heard(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(new("told", client="c"), new("silent"), new("huge", client="c"))
        told, silent, huge = store.claim(3, NOW)
        store.ack(lifecycle.succeeded(told, NOW + 1, Payload(pickle.dumps(42))), lifecycle.succeeded(silent, NOW + 1, None))
        store.ack(lifecycle.succeeded(huge, NOW + 1, Payload(b"", (HeldBuffer(b"x"),))))
    with drive(path) as store:
        ended = {job.id: job for job in store.opened.ended}
        assert sorted(ended) == ["huge", "silent", "told"]
        assert (ended["told"].state, ended["told"].value(), ended["told"].attempts) == (JobState.DONE, 42, 1)
        with pytest.raises(QueueLost, match="too large to be kept"):
            ended["huge"].value()


def test_a_cancelled_job_is_known_after_a_restart_so_that_a_late_try_to_enqueue_it_does_not_bring_it_back(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(new("a", client="c"), new("b"))
        assert store.cancel("a") is CancelOutcome.CANCELLED
    with drive(path) as store:
        assert [(job.id, job.state) for job in store.opened.ended] == [("a", JobState.CANCELLED)]


def test_an_end_is_not_told_of_a_job_that_has_come_back_since(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(new("a"))
        store.ack(lifecycle.moved(store.claim_one(NOW), "elsewhere", NOW))
        store.enqueue(new("a"))
    with drive(path) as store:
        assert list(store.opened.ended) == []
        assert store.counts().pending == 1


# -- commits


def commits_of(store: StoreDriver) -> int:
    return store._run(store.store._journal.look(lambda file: file.commits))


def test_calls_that_wait_together_are_committed_together(path: Path) -> None:
    async def many(store: SQLiteStore) -> None:
        await asyncio.gather(*(store.enqueue([new(f"job-{number}")]) for number in range(200)))

    with drive(path) as store:
        before = commits_of(store)
        store._run(many(store.store))
        assert store.counts().pending == 200
        assert commits_of(store) - before < 50


def test_a_slow_commit_does_not_hold_up_the_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hit(point: str) -> None:
        if point == "enq.pre_commit":
            reached.set()
            assert go_on.wait(30)

    async def scenario(store: SQLiteStore) -> None:
        enqueue = asyncio.ensure_future(store.enqueue([new("a")]))
        await asyncio.to_thread(reached.wait, 30)
        assert not enqueue.done()  # the commit is under way, and here the loop runs on
        assert (await store.counts()).pending == 0
        go_on.set()
        assert await enqueue == [True]

    monkeypatch.setattr(failpoints, "hit", hit)
    with drive(path) as store:
        store._run(scenario(store.store))


def test_told_of_an_error_after_the_commit_the_job_is_there_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with drive(path) as store:
        monkeypatch.setattr(failpoints, "hit", failpoints.Failpoints("enq.post_commit=raise@1").hit)
        with pytest.raises(failpoints.FailpointHit):
            store.enqueue(new("a"))
        assert store.enqueue(new("a")) == [False]
        assert store.counts().pending == 1


def test_a_note_that_cannot_be_stored_is_refused_before_anything_changes(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(new("a"))
        job = store.claim_one(NOW)
        with pytest.raises(PayloadError, match="note"):
            store.nack(lifecycle.retried(job, FAILURE, NOW, 0, threading.Lock()))
        assert store.ack(lifecycle.succeeded(job, NOW, None)) == [True]


def test_a_store_that_is_not_open_says_so_each_time(path: Path) -> None:
    async def ask() -> None:
        store = SQLiteStore(path)
        for _ in range(2):
            with pytest.raises(StoreError, match="is not open"):
                await store.enqueue([new("a")])

    asyncio.run(ask())


# -- a full disk


def fill(store: StoreDriver, pages: int) -> None:
    store._run(store.store._journal.look(lambda file: file.limit(pages)))


def test_a_full_disk_refuses_new_jobs_and_keeps_what_it_has(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(*(new(f"job-{number}") for number in range(20)))
        fill(store, 1)  # which SQLite takes as: no more than there are
        with pytest.raises(StoreError, match=r"jobs\.db: could not write a change: .*full"):
            store.enqueue(*(new(f"more-{number}", args=["x" * 500]) for number in range(1000)))
        assert store.counts().pending == 20
        assert store.cancel("job-3") is CancelOutcome.CANCELLED  # needs no room
        fill(store, 100_000)
        assert store.enqueue(new("more-1")) == [True]
    with drive(path) as store:
        assert store.counts().pending == 20


def test_what_was_settled_while_the_disk_was_full_lands_when_there_is_room(path: Path) -> None:
    with drive(path) as store:
        store.enqueue(*(new(f"job-{number}") for number in range(200)))
        jobs = store.claim(200, NOW)
        store.remember_suspended(False)  # the claims are committed with it
        fill(store, 1)
        retried = [lifecycle.retried(job, Failure("exception", "E", "m" * 5000), NOW, 0, None) for job in jobs]
        with pytest.raises(StoreError, match="full"):
            store.nack(*retried)
        with pytest.raises(StoreError, match="no job is reserved while"):
            store.reserve(1, NOW)
        fill(store, 100_000)
        assert store.nack(*retried) == [True] * 200  # asked again, it waits for what is still to land
        assert len(store.claim(500, NOW)) == 200
    with drive(path) as store:
        assert len(store.opened.held) == 200
        assert {job.failures for job in store.opened.held} == {1}


def test_a_file_closed_while_its_disk_was_full_keeps_its_log_and_opens_again(path: Path) -> None:
    store = drive(path)
    store.enqueue(*(new(f"job-{number}") for number in range(200)))
    jobs = store.claim(200, NOW)
    store.remember_suspended(False)
    fill(store, 1)
    with pytest.raises(StoreError, match="full"):
        store.nack(*(lifecycle.retried(job, Failure("exception", "E", "m" * 5000), NOW, 0, None) for job in jobs))
    with pytest.raises(StoreError, match="write the last changes"):
        store.close()
    store.leave()
    with drive(path) as again:
        assert len(again.opened.held) == 200
