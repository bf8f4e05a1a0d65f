"""Two queues, each a process of its own, on one table: each row is reserved and finished once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.testing import StoreDriver
from tests.sql.databases import database
from tests.sql.tables import Photos

ROWS, TURNS = 10_000, 20


def _drain(url: str, log: str, turns: int, ready: Any, at_once: int) -> None:
    photos = Photos(url, create=False)
    lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with StoreDriver(photos.store()) as store:
        for _ in range(turns):
            ready.wait()
            while True:
                jobs = store.claim(at_once, time.time())
                if not jobs:
                    break
                os.write(lines, "".join(f"{job.id}\n" for job in jobs).encode())
                held = store.ack(*(lifecycle.succeeded(job, time.time(), None) for job in jobs))
                assert all(held)
            ready.wait()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("backend", "rows", "turns"), [("postgresql", ROWS, TURNS), ("sqlite", 2000, 2)])
def test_each_row_runs_once(tmp_path: Path, backend: str, rows: int, turns: int) -> None:
    with database(backend, tmp_path) as url, Photos(url) as photos:
        spawn = multiprocessing.get_context("spawn")
        ready = spawn.Barrier(3)
        logs = [tmp_path / "one", tmp_path / "two"]
        queues = [spawn.Process(target=_drain, args=(url, str(log), turns, ready, 400)) for log in logs]
        for queue in queues:
            queue.start()
        for turn in range(turns):
            first, last = turn * rows, (turn + 1) * rows - 1
            photos.run(f"INSERT INTO photos (id) WITH RECURSIVE n(i) AS (SELECT CAST({first} AS INTEGER) UNION ALL "
                       f"SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n")
            ready.wait(60)
            ready.wait(120)
        for queue in queues:
            queue.join(60)
            assert queue.exitcode == 0
        counted = [Counter(int(line) for line in log.read_text().split()) for log in logs]
        assert counted[0] + counted[1] == dict.fromkeys(range(rows * turns), 1)
        assert all(counted), "one queue did all the work"
        assert photos.run("SELECT count(*) FROM photos WHERE honeydew_test_lock IS NOT NULL") == [(0,)]


def _hold(url: str, log: str) -> None:
    photos = Photos(url, create=False)
    store = StoreDriver(photos.store(stale_timeout_s=4))
    Path(log).write_text("\n".join(str(job.id) for job in store.claim(5, time.time())))
    signal.pause()


def test_the_rows_of_a_process_that_is_killed_are_taken_over(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url, Photos(url) as photos:
        photos.insert(*range(8))
        spawn = multiprocessing.get_context("spawn")
        held = tmp_path / "held"
        process = spawn.Process(target=_hold, args=(url, str(held)))
        process.start()
        while not (held.exists() and held.read_text().count("\n") == 4):
            time.sleep(0.01)
        store = photos.open(stale_timeout_s=4)
        assert sorted(job.id for job in store.claim(9, time.time())) == [5, 6, 7]
        began, first = time.monotonic(), photos.row(0)[0]
        while first - photos.row(0)[0] < 4e6:  # renewed until the first lease would have run out
            assert time.monotonic() - began < 20
            assert store.claim(9, time.time()) == []
            time.sleep(0.05)
        process.kill()
        process.join()
        taken: dict[int, Any] = {}
        deadline = time.monotonic() + 20
        while len(taken) < 5 and time.monotonic() < deadline:
            taken.update((job.id, job) for job in store.claim(9, time.time()))
            time.sleep(0.02)
        assert sorted(taken) == [0, 1, 2, 3, 4]
        assert all(job.redeliveries == 1 and job.failures == 0 for job in taken.values())
        assert all(store.ack(*taken.values()))
