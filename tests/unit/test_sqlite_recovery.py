"""What the SQLite store must get right when things go wrong at a bad moment."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.errors import StoreDamaged, StoreError
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores import _journal, _opening, _wal
from honeydew_ray.stores.base import Counts
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

NOW = 1_700_000_000.0
FAILURE = Failure("exception", "ValueError", "bad photo")
LONG = Failure("exception", "ValueError", "m" * 5000)


def new(job_id: str) -> JobRecord:
    return lifecycle.enqueued(make_job(job_id), "test", NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def failpoint(monkeypatch: pytest.MonkeyPatch):
    return lambda text: monkeypatch.setattr(failpoints, "hit", failpoints.Failpoints(text).hit)


def room(store: StoreDriver, pages: int) -> None:
    """The disk has room for a file of so many pages; 1 is taken as: no more than there are."""
    store._run(store.store._journal.look(lambda file: file.limit(pages)))


def fail_to_retry(store: StoreDriver) -> list[JobRecord]:
    """Claim 200 jobs, and fail to put them back, because the disk is full."""
    store.enqueue(*(new(f"job-{number}") for number in range(200)))
    jobs = store.claim(200, NOW)
    store.remember_suspended(False)  # the claims are committed with it
    room(store, 1)
    with pytest.raises(StoreError, match="full"):
        store.nack(*(lifecycle.retried(job, LONG, NOW, 0, None) for job in jobs))
    return jobs


# -- order


def test_jobs_abandoned_before_and_after_a_restart_keep_their_order(path: Path) -> None:
    with StoreDriver(SQLiteStore(path)) as store:
        for number in range(30):  # so that changes are numbered far beyond the jobs that are left
            store.enqueue(new(f"done-{number}"))
            store.ack(lifecycle.succeeded(store.claim_one(NOW), NOW, None))
        store.enqueue(new("a"), new("b"))
        store.nack(*(lifecycle.abandoned(job, FAILURE, NOW) for job in store.claim(2, NOW)))
    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(new("c"))
        store.nack(lifecycle.abandoned(store.claim_one(NOW), FAILURE, NOW + 1))
    with StoreDriver(SQLiteStore(path)) as store:
        assert [job.id for job in store.all()] == ["a", "b", "c"]


# -- one id is one job, whoever leaves or fails


def test_an_enqueue_whose_caller_left_and_asked_again_is_one_job(path: Path, failpoint) -> None:
    failpoint("enq.pre_commit=sleep:0.1@1")

    async def leave_and_ask_again(store: SQLiteStore) -> list[bool]:
        first = asyncio.ensure_future(store.enqueue([new("a")]))
        await asyncio.sleep(0)  # it has been handed over, and cannot be committed yet
        first.cancel()
        await asyncio.wait([first])
        return list(await store.enqueue([new("a")]))

    with StoreDriver(SQLiteStore(path)) as store:
        assert store._run(leave_and_ask_again(store.store)) == [False]
        assert store.ack(*(lifecycle.succeeded(job, NOW, None) for job in store.claim(9, NOW))) == [True]
    with StoreDriver(SQLiteStore(path)) as store:
        assert store.counts() == Counts(), "a second row would run the job again"


def test_of_several_that_waited_for_an_enqueue_that_failed_one_enqueues(path: Path, failpoint) -> None:
    failpoint("enq.pre_commit=raise@1")

    async def all_at_once(store: SQLiteStore) -> list[object]:
        return await asyncio.gather(*(store.enqueue([new("a")]) for _ in range(4)), return_exceptions=True)

    with StoreDriver(SQLiteStore(path)) as store:
        failed, *others = store._run(all_at_once(store.store))
        assert isinstance(failed, failpoints.FailpointHit)
        assert sorted(others) == [[False], [False], [True]]
        store.ack(lifecycle.succeeded(store.claim_one(NOW), NOW, None))
    with StoreDriver(SQLiteStore(path)) as store:
        assert store.counts() == Counts()


# -- a full disk


def test_another_outcome_of_an_attempt_that_was_put_back_is_stale_even_while_that_is_not_written(path: Path) -> None:
    with StoreDriver(SQLiteStore(path)) as store:
        jobs = fail_to_retry(store)
        room(store, 100_000)
        assert store.ack(lifecycle.cancelled(jobs[0], NOW)) == [False]
        assert store.state(jobs[0].id) is JobState.PENDING


def test_a_store_closed_while_the_disk_is_full_opens_again(path: Path) -> None:
    store = StoreDriver(SQLiteStore(path))
    jobs = fail_to_retry(store)
    with pytest.raises(StoreError, match="last changes"):
        store.close()
    store.leave()
    with StoreDriver(SQLiteStore(path)) as store:
        assert {job.token for job in store.opened.held} == {job.token for job in jobs}


def test_a_store_that_could_not_be_marked_as_closed_opens_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = StoreDriver(SQLiteStore(path))
    store.enqueue(new("a"))
    store._run(store.store._journal.look(lambda file: file._connection.execute("PRAGMA query_only=1")))
    with pytest.raises(StoreError, match="readonly"):
        store.close()
    store.leave()
    assert _opening.wal_of(path).exists(), "without its log an unmarked file is taken for one that lost it"
    with StoreDriver(SQLiteStore(path)) as store:
        assert store.counts() == Counts(pending=1)
    assert [file.name for file in path.parent.iterdir()] == ["jobs.db"]


def test_acks_made_while_the_disk_is_full_land_by_themselves_when_there_is_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_journal, "_RETRY_S", 0.01)

    landed = asyncio.Event()

    def hit(point: str) -> None:  # past the commit, in the thread that writes
        if point == "ack.post_commit":
            store._loop.call_soon_threadsafe(landed.set)

    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(*(new(f"first-{number}") for number in range(3)))
        done = store.claim(3, NOW)
        fail_to_retry(store)
        with pytest.raises(StoreError, match="full"):
            store.ack(*(lifecycle.succeeded(job, NOW, None) for job in done))
        assert store.counts() == Counts(pending=200)
        monkeypatch.setattr(failpoints, "hit", hit)
        room(store, 100_000)
        store._run(asyncio.wait_for(landed.wait(), 30))
        left_by_a_kill = path.with_name("killed.db")
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{left_by_a_kill}{suffix}")
    with StoreDriver(SQLiteStore(left_by_a_kill)) as store:
        assert store.counts() == Counts(pending=200)
        assert {job.failures for job in store.all()} == {1}


OPEN_WITHOUT_ROOM = """
import resource, sys
from honeydew_ray.errors import StoreDamaged, StoreError
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver
store = SQLiteStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    StoreDriver(store)
except StoreError as error:
    assert not isinstance(error, StoreDamaged), error
    print(error)
"""


@pytest.mark.parametrize("size", [0, 16, 4200])
def test_a_disk_without_room_at_the_opening_is_no_damage(path: Path, size: int) -> None:
    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(new("a"))
    program = [sys.executable, "-c", OPEN_WITHOUT_ROOM, str(path), str(size)]
    told = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    assert told.startswith(f"{path} cannot be opened: disk I/O error")
    with StoreDriver(SQLiteStore(path)) as store:
        assert store.counts() == Counts(pending=1)


# -- links


DIE = """
import os, signal, sys
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver
store = StoreDriver(SQLiteStore(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_behind_a_link_opens_after_a_kill(path: Path) -> None:
    with StoreDriver(SQLiteStore(path)) as store:
        store.enqueue(new("a"))
    link = path.with_name("link.db")
    link.symlink_to(path)
    subprocess.run([sys.executable, "-c", DIE, str(link)], check=False)
    with StoreDriver(SQLiteStore(link)) as store:
        assert store.counts() == Counts(pending=1)


# -- the log


@pytest.fixture
def killed(path: Path) -> Iterator[Path]:
    """The files as a process leaves them that is killed after 40 commits."""
    folder = path.parent / "killed"
    folder.mkdir()
    with StoreDriver(SQLiteStore(path)) as store:
        for number in range(40):
            store.enqueue(new(f"job-{number}"))
        for file in path.parent.glob("jobs.db*"):
            shutil.copy(file, folder)
    return folder / path.name


def frames_of(wal: Path) -> int:
    return (wal.stat().st_size - 32) // (4096 + 24)


@pytest.mark.parametrize("part", [0.0001, 0.1, 0.5, 0.9])
def test_a_bit_flipped_in_the_log_is_noticed_if_commits_would_be_lost(killed: Path, part: float) -> None:
    wal = _opening.wal_of(killed)
    content = bytearray(wal.read_bytes())
    content[int(len(content) * part)] ^= 1
    wal.write_bytes(content)
    before = {file.name: file.read_bytes() for file in killed.parent.iterdir()}
    with pytest.raises(StoreDamaged, match=r"jobs\.db-wal is damaged: (its header is|frame \d+ of it is) damaged"):
        StoreDriver(SQLiteStore(killed))
    assert {file.name: file.read_bytes() for file in killed.parent.iterdir()} == before


def test_a_last_commit_that_was_cut_short_is_dropped_as_it_must_be(killed: Path) -> None:
    """It was not on the disk, so nobody was told that it had happened."""
    wal = _opening.wal_of(killed)
    content = bytearray(wal.read_bytes())
    content[-5] ^= 1
    wal.write_bytes(content)
    with StoreDriver(SQLiteStore(killed)) as store:
        assert store.counts() == Counts(pending=39)


@pytest.mark.parametrize("cut", [1, 4119, 4121])
def test_a_log_that_ends_in_half_a_frame_is_read_up_to_there(killed: Path, cut: int) -> None:
    wal = _opening.wal_of(killed)
    wal.write_bytes(wal.read_bytes()[:-cut])
    assert _wal.find_damage(wal) is None


def test_frames_left_from_before_the_log_began_anew_are_no_damage(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy-wal"
    with StoreDriver(SQLiteStore(path)) as store:
        for number in range(40):
            store.enqueue(new(f"job-{number}"))
        store._run(store.store._journal.look(lambda file: file._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()))
        store.enqueue(new("first of the new log"))
        shutil.copy(_opening.wal_of(path), copy)
    assert frames_of(copy) >= 40
    assert _wal.find_damage(copy) is None
