"""Poll queues on a real Ray, on SQLite files and on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import honeydew_ray as honeydew
from honeydew_ray import PollStore
from tests.cluster.scripts import ROOT, run_script
from tests.cluster.signals import Signal
from tests.cluster.test_examples import EXPECTED
from tests.sql.databases import database, stop_servers
from tests.sql.tables import Photos

NewQueue = Callable[..., honeydew.Queue]
ROUNDS = int(os.environ.get("HONEYDEW_ROUNDS", "1"))  # of two queues on one table; tests/sql has twenty, with processes of its own


@pytest.fixture(scope="module", autouse=True)
def _servers() -> Iterator[None]:
    yield
    stop_servers()


@pytest.fixture(params=["sqlite", "postgresql"])
def photos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Photos]:
    with database(request.param, tmp_path) as url, Photos(url, "photos") as made:
        yield made


@pytest.fixture
def pg_photos(tmp_path: Path) -> Iterator[Photos]:
    with database("postgresql", tmp_path) as url, Photos(url, "photos") as made:
        yield made


class Clerk:
    """Writes down what it runs, one line a run, each by one write that no kill can halve."""

    def __init__(self, log: str) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self, key: int) -> int:
        os.write(self.log, f"{key}\n".encode())
        return key * 2

    def hold(self, key: int, started: Signal, go_on: Signal) -> int:
        os.write(self.log, f"{key}\n".encode())
        started.send()
        go_on.wait()
        return key


def runs(log: Path) -> Counter[int]:
    return Counter(int(line) for line in log.read_text().split())


def until(done: Callable[[], bool], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def done(photos: Photos) -> bool:
    [[left]] = photos.run("SELECT count(*) FROM photos WHERE honeydew_photos_lock IS NOT NULL")
    return left == 0


@contextlib.contextmanager
def stopped(pid: int, photos: Photos) -> Iterator[None]:
    """With a queue's process stopped, in a moment without a transaction: an open one keeps others from the row until it goes on."""
    touch = "UPDATE photos SET size = size" if photos.engine.dialect.name == "sqlite" else "SELECT * FROM photos FOR UPDATE NOWAIT"
    try:
        while True:
            os.kill(pid, signal.SIGSTOP)
            with contextlib.suppress(sa.exc.OperationalError):
                photos.run(touch)
                break
            os.kill(pid, signal.SIGCONT)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_rows_run_are_listed_moved_revived_and_waited_for(photos: Photos, new_queue: NewQueue, tmp_path: Path) -> None:
    log = tmp_path / "log"
    queue = new_queue("photos", store=photos.store(poll_interval_s=300), suspended=True)
    queue.start_workers(Clerk, str(log), num=2)
    photos.insert(1, 2, 3, 4)
    status = queue.status()
    assert (status.pending, status.stale, status.trouble, status.store) == (4, 0, None, "PollStore")
    assert sorted(job.id for job in queue.filter(photos.table.c.id > 2)) == [3, 4]
    assert queue.job(4).cancel() == "cancelled"
    assert queue.job(1).state == "pending"
    jobs = queue.filter("pending")
    assert [job.args for job in jobs] == [(1,), (2,), (3,)]
    queue.resume()
    assert [job.result(timeout=60) for job in jobs] == [2, 4, 6]
    assert done(photos)
    photos.set(2, honeydew_photos_lock=0)  # once more
    queue.wake()
    until(lambda: runs(log) == {1: 1, 2: 2, 3: 1})
    until(lambda: done(photos))
    with pytest.raises(TypeError, match="predicate"):
        queue.filter(7)
    with pytest.raises(honeydew.StoreError, match="insert one"):
        queue.submit("run", 9)


def test_an_insert_starts_its_job_within_a_tenth_of_a_second(pg_photos: Photos, new_queue: NewQueue, tmp_path: Path) -> None:
    queue = new_queue("photos", store=pg_photos.store(poll_interval_s=300))
    queue.start_workers(Clerk, str(tmp_path / "log"), num=1)
    queue.wait_for_workers(1)
    started: list[float] = []
    for number in range(1, 12):
        pg_photos.insert(number)
        inserted = time.monotonic()
        until(lambda: (tmp_path / "log").read_text().endswith(f"{number}\n"), 10)  # noqa: B023
        started.append(time.monotonic() - inserted)
    assert sorted(started)[len(started) // 2] < 0.1, started


def test_sqlite_is_polled(new_queue: NewQueue, tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as url, Photos(url, "photos") as photos:
        queue = new_queue("photos", store=photos.store(poll_interval_s=0.1))
        queue.start_workers(Clerk, str(tmp_path / "log"), num=1)
        queue.wait_for_workers(1)
        photos.insert(1)
        until(lambda: done(photos))


def test_a_queue_that_loses_its_process_in_mid_job_takes_the_job_over(photos: Photos, new_queue: NewQueue, tmp_path: Path,
                                                                      new_signal: Callable[[], Signal]) -> None:
    started, go_on = new_signal(), new_signal()
    store = photos.store(poll_interval_s=0.5, task=lambda key, queue: ("hold", key, started, go_on) if key == 1 else "run")
    queue = new_queue("photos", store=store)
    queue.start_workers(Clerk, str(tmp_path / "log"), num=1)
    photos.insert(1)
    queue.wake()
    started.wait()
    job = queue.job(1)
    os.kill(queue.status().pid, signal.SIGKILL)
    until(lambda: queue.status().in_progress == 1)
    go_on.send()
    assert job.result(timeout=60) == 1
    photos.insert(2)
    until(lambda: done(photos))
    assert runs(tmp_path / "log") == {1: 1, 2: 1}


def test_another_queue_takes_over_the_rows_of_one_that_is_gone(photos: Photos, new_queue: NewQueue, tmp_path: Path,
                                                               new_signal: Callable[[], Signal]) -> None:
    started, go_on = new_signal(), new_signal()
    options: Any = {"stale_timeout_s": 4.0, "poll_interval_s": 0.2, "columns": "photos"}
    first = new_queue("first", store=photos.store(task=lambda key, queue: ("hold", key, started, go_on), **options))
    first.start_workers(Clerk, str(tmp_path / "first"), num=1)
    photos.insert(1)
    first.wake()
    started.wait()
    pid = first.status().pid
    second = new_queue("second", store=photos.store(**options))
    second.start_workers(Clerk, str(tmp_path / "second"), num=1)
    second.wait_for_workers(1)
    time.sleep(5)  # longer than the lease, which is renewed: the job is not run twice
    assert not (tmp_path / "second").read_text()
    with stopped(pid, photos):  # renews no more
        until(lambda: (tmp_path / "second").read_text() != "")
        until(lambda: done(photos))
    assert runs(tmp_path / "second") == {1: 1}
    go_on.send()
    until(lambda: first.status().in_progress == 0)
    assert done(photos)  # the late outcome changed nothing


def test_a_suspended_queue_is_suspended_after_it_lost_its_process(new_queue: NewQueue, tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as url, Photos(url, "photos") as photos:
        queue = new_queue("photos", store=photos.store(poll_interval_s=0.1))
        queue.suspend()
        pid = queue.status().pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: queue.status().pid != pid)
        assert queue.status().suspended
        queue.resume()
        os.kill(queue.status().pid, signal.SIGKILL)
        until(lambda: not queue.status().suspended)
        queue.suspend()
        queue.stop()
        assert not new_queue("photos", store=photos.store()).status().suspended


def test_two_queues_on_one_table_run_each_row_once(pg_photos: Photos, new_queue: NewQueue, tmp_path: Path) -> None:
    logs = [tmp_path / "one", tmp_path / "two"]
    for log in logs:
        queue = new_queue(log.name, store=pg_photos.store(columns="photos", poll_interval_s=0.5))
        queue.start_workers(Clerk, str(log), num=1, prefetch="auto")
        queue.wait_for_workers(1)
    for turn in range(ROUNDS):
        pg_photos.run(f"INSERT INTO photos (id) SELECT generate_series({turn * 10_000 + 1}, {turn * 10_000 + 10_000})")
        until(lambda: done(pg_photos), 100)
    counted = [runs(log) for log in logs]
    assert counted[0] + counted[1] == dict.fromkeys(range(1, ROUNDS * 10_000 + 1), 1)
    assert all(len(runs_of_one) > 100 for runs_of_one in counted), "one queue did all the work"


def test_a_table_that_is_not_ready_is_refused_at_the_start(new_queue: NewQueue, tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as url, Photos(url, "other") as photos:
        with pytest.raises(honeydew.StoreError, match="ALTER TABLE photos ADD COLUMN honeydew_photos_lock"):
            new_queue("photos", store=photos.store())
        assert "photos" not in honeydew.queues()


def test_a_database_that_is_down_at_the_start_is_waited_for(new_queue: NewQueue, tmp_path: Path) -> None:
    with database("sqlite", tmp_path) as url, Photos(url, "photos") as photos:
        nowhere = PollStore("postgresql+psycopg://ada:secret@127.0.0.1:1/photos", photos.table)
        queue = new_queue("photos", store=nowhere)
        trouble = queue.status().trouble
        assert trouble is not None
        assert "secret" not in trouble
        for ask in (queue.suspend, lambda: queue.filter(), lambda: queue.job(1).cancel(), lambda: queue.submit("run", 1)):
            with pytest.raises(honeydew.StoreUnreachable):
                ask()
        queue.start_workers(Clerk, str(tmp_path / "log"), num=1)
        queue.stop()


def test_the_example_on_postgresql(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    with database("postgresql", tmp_path) as url:
        finished = run_script(ROOT / "examples" / "poll_queue.py", url)
        assert finished.code == 0, str(finished)
        assert [line for line in finished.output.splitlines() if "pid=" not in line] == EXPECTED["poll_queue.py"].splitlines()
