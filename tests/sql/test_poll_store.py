"""What a poll queue does with rows, and what others may do to them meanwhile."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from honeydew_ray import PayloadError, StoreError, lifecycle
from honeydew_ray.errors import StoreUnreachable
from honeydew_ray.failure import Failure
from honeydew_ray.job import CancelOutcome, JobState
from honeydew_ray.stores._poll.columns import ABANDONED
from honeydew_ray.stores.base import Counts, Query
from honeydew_ray.testing import StoreDriver
from honeydew_ray.testing.store_rules.base import FAILURE, ids
from tests.sql.tables import Photos


def abandoned(store: StoreDriver, key: Any) -> None:
    job = store.claim_one(time.time(), only=key)
    assert store.nack(lifecycle.abandoned(job, FAILURE, time.time())) == [True]


def until(done: Any, patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def left_behind(photos: Photos, lease_s: float = 0.05, **options: Any) -> list[Any]:
    """What a queue had reserved whose process is gone; its lease has run out."""
    store = photos.open(stale_timeout_s=lease_s, **options)
    jobs = store.claim(9, time.time())
    store.store._leases.stop()
    until(lambda: photos.open().counts().stale == len(jobs))
    return [store, *jobs]


def test_the_columns_say_where_a_row_stands(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, 2)
        store = photos.open()
        assert photos.row(1) == (0, None)
        job = store.claim_one(time.time())
        lock, private = photos.row(1)
        assert lock < -time.time() * 1e6
        assert private.startswith(f'["{job.incarnation}",')
        assert store.ack(lifecycle.succeeded(job, time.time(), None)) == [True]
        assert photos.row(1) == (None, None)
        abandoned(store, 2)
        assert photos.row(2)[0] == ABANDONED


def test_when_a_row_was_enqueued_is_unknown_until_it_is_reserved(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, 2)
        due_at = float(int(time.time()) + 60)
        photos.set(2, honeydew_test_lock=int(due_at * 1e6))
        store = photos.open()
        assert [(job.enqueued_at, job.state, job.due_at) for job in store.all()] == [(None, "pending", 0.0), (None, "delayed", due_at)]
        now = time.time()
        job = store.claim_one(now)
        assert (job.enqueued_at, job.due_at, job.waited_s) == (now, now, 0.0)
        store.nack(lifecycle.retried(job._replace(started_at=now), FAILURE, now + 1, 0.0, None))
        assert store.find(1).enqueued_at == now
        photos.set(2, honeydew_test_lock=1)  # a time that has passed
        assert (store.find(2).enqueued_at, store.find(2).state) == (None, "pending")
        assert store.claim_one(now + 2, only=2).enqueued_at == now + 2


def test_a_job_that_takes_longer_than_its_lease_is_not_run_twice(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        mine, other = photos.open(stale_timeout_s=4), photos.open(stale_timeout_s=4)
        job = mine.claim_one(time.time())
        locks = [photos.row(1)[0]]
        while locks[0] - locks[-1] < 4e6:  # renewed until the first lease would have run out
            until(lambda: photos.row(1)[0] < locks[-1])
            locks.append(photos.row(1)[0])
            assert other.claim(1, time.time()) == []
        assert len(locks) > 3
        assert other.counts() == Counts(in_progress=1)
        assert mine.ack(job) == [True]


def test_a_stale_row_comes_back_with_its_failures_and_its_old_queue_is_fenced_off(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        store = photos.open(stale_timeout_s=0.05)
        store.nack(lifecycle.retried(store.claim_one(time.time()), FAILURE, time.time(), 0.0, {"tries": 1}))
        lost = store.claim_one(time.time())
        store.store._leases.stop()
        other = photos.open()
        until(lambda: other.counts() == Counts(stale=1))
        assert ids(other.all(Query(stale=True))) == [1]
        assert other.all(Query(state=JobState.IN_PROGRESS)) == []
        again = other.claim_one(time.time())
        assert (again.failures, again.redeliveries, again.attempt, again.private, again.last_error) == (1, 1, 3, {"tries": 1}, FAILURE)
        assert store.ack(lost) == [False]
        assert store.nack(lifecycle.gave_back(lost, time.time())) == [False]
        assert other.counts() == Counts(in_progress=1)
        assert other.ack(again) == [True]


def test_a_lease_that_could_not_be_renewed_for_long_is_renewed_before_anything_is_claimed(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        store = photos.open(stale_timeout_s=0.2)
        job = store.claim_one(time.time())
        store.store._leases.stop()
        until(lambda: photos.open().counts().stale == 1)
        assert store.claim(1, time.time()) == []
        assert store.ack(job) == [True]


def test_leases_are_renewed_again_whatever_a_connection_met_with(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        store = photos.open(stale_timeout_s=0.6)
        job = store.claim_one(time.time())
        engine = store.store._database.engine
        away = threading.Event()
        asked: list[None] = []

        def ask_for_a_password(*_: object) -> None:
            asked.append(None)
            if away.is_set():
                raise OSError("the service that knows it is away")

        away.set()
        sa.event.listen(engine, "do_connect", ask_for_a_password)
        engine.dispose()
        with pytest.raises(StoreUnreachable, match="no connection to the database can be made: OSError"):
            store.counts()
        until(lambda: len(asked) >= 3)
        away.clear()
        before = photos.row(1)[0]
        until(lambda: photos.row(1)[0] != before)
        assert store.ack(job) == [True]


def test_cancel_tells_three_things_apart(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(*range(1, 6))
        mine, other = photos.open(), photos.open()
        mine.claim_one(time.time(), only=1)
        abandoned(mine, 2)
        later = mine.claim_one(time.time(), only=3)
        mine.nack(lifecycle.retried(later, FAILURE, time.time(), 60, None))
        for store in (mine, other):
            assert store.cancel(1) is CancelOutcome.IN_PROGRESS
            assert store.cancel(2) is CancelOutcome.NOT_FOUND
            assert store.cancel(99) is CancelOutcome.NOT_FOUND
        assert other.cancel(3) is CancelOutcome.CANCELLED
        assert other.cancel(4) is CancelOutcome.CANCELLED
        assert mine.cancel(4) is CancelOutcome.NOT_FOUND
        assert ids(mine.claim(9, time.time() + 99)) == [5]


def test_a_stale_row_can_be_cancelled(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        gone, job = left_behind(photos)
        store = photos.open()
        assert store.cancel(1) is CancelOutcome.CANCELLED
        assert gone.nack(lifecycle.gave_back(job, time.time())) == [False]  # a late nack revives nothing
        assert store.claim(9, time.time()) == []


def test_a_row_may_be_deleted_or_taken_out_while_its_job_is_in_hand(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, 2, 3, 4)
        store = photos.open()
        jobs = {job.id: job for job in store.claim(9, time.time())}
        photos.run("DELETE FROM photos WHERE id IN (1, 2)")
        photos.run("UPDATE photos SET honeydew_test_lock = NULL, honeydew_test_private = NULL WHERE id IN (3, 4)")
        store.store._leases.renew()
        assert store.ack(jobs[1], jobs[3]) == [False, False]
        assert store.nack(*(lifecycle.retried(jobs[key], FAILURE, time.time(), 0.0, None) for key in (2, 4))) == [False, False]
        assert store.counts() == Counts()
        photos.insert(2)
        assert ids(store.claim(9, time.time())) == [2]


def test_a_row_made_ready_while_its_job_is_in_hand_runs_once_more_after_that(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        store = photos.open()
        first = store.claim_one(time.time())
        photos.set(1, honeydew_test_lock=0)
        assert store.claim(9, time.time()) == []  # not two at once
        assert store.ack(first) == [False]
        until(lambda: store.counts() == Counts(pending=1))
        second = store.claim_one(time.time())
        assert second.token != first.token
        assert store.ack(second) == [True]
        photos.set(1, honeydew_test_lock=0)  # done with, and ready again
        assert store.ack(store.claim_one(time.time())) == [True]


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


STRANGE = ["", "garbage", "null", "[1]", "{", '["x",', '["a",1.0,', '{"attempt": "many", "error": 7, "place": -3}',
           '{"failures": 1e400, "note": {"a": [null]}}', '["a",1.0,' * 2000 + "null" + "]" * 2000, "[" * 5000]


@pytest.mark.parametrize("private", STRANGE)
def test_whatever_stands_in_the_private_column_a_row_runs(url: str, private: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, honeydew_test_private=private)
        store = photos.open()
        assert ids(store.all()) == [1]
        job = store.claim_one(time.time())
        assert store.find(1).token == job.token
        assert store.nack(lifecycle.retried(job, FAILURE, time.time(), 0.0, None)) == [True]
        assert store.ack(store.claim_one(time.time())) == [True]


def test_a_pickle_in_the_private_column_is_never_loaded(url: str, tmp_path: Path) -> None:
    bomb = Bomb()
    bomb.path = str(tmp_path / "exploded")
    with Photos(url) as photos:
        photos.insert(1, honeydew_test_private=pickle.dumps(bomb, 0).decode())
        store = photos.open()
        store.all()
        job = store.claim_one(time.time())
        store.nack(lifecycle.abandoned(job, FAILURE, time.time()))
        store.all()
    assert not (tmp_path / "exploded").exists()


def test_what_is_remembered_of_a_row_is_json_and_no_pickle(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1)
        store = photos.open()
        failure = Failure("exception", "ValueError", "bad\0 photo \ud800" + "x" * 100_000, "trace", exception=pickle.dumps(ValueError()))
        store.nack(lifecycle.retried(store.claim_one(time.time()), failure, time.time(), 0.0, [1, {"a": None}]))
        private = photos.row(1)[1]
        assert private.startswith("{")
        assert len(private) < 12_000
        found = store.find(1)
        assert found.last_error.message.startswith("bad\0 photo \ud800")
        assert found.last_error.exception is None
        job = store.claim_one(time.time())
        for note in (object(), {1: "a"}, (1, 2), float("nan"), b"x"):
            with pytest.raises(PayloadError, match="note"):
                store.nack(lifecycle.retried(job, FAILURE, time.time(), 0.0, note))
        for note in (0, "", False, [], 1.5, {"a": 0}):
            assert store.nack(lifecycle.retried(job, FAILURE, time.time(), 0.0, note)) == [True]
            job = store.claim_one(time.time())
            assert job.private == note
            assert type(job.private) is type(note)


def test_a_delay_is_by_the_databases_clock(url: str) -> None:
    """The queue's clock is an hour ahead, and it makes no difference."""

    class Ahead:
        def now(self) -> float:
            return time.time() + 3600

    with Photos(url) as photos:
        photos.insert(1, 2)
        source = photos.store(poll_interval_s=600)
        source._clock = Ahead()
        other = photos.open(poll_interval_s=600)
        with StoreDriver(source) as store:
            soon, late = store.claim(2, Ahead().now())
            before = time.time()
            store.nack(*(lifecycle.retried(job, FAILURE, before + 3600, delay_s, None) for job, delay_s in ((soon, 0.5), (late, 60.0))))
            until(lambda: other.counts() == Counts(pending=1, delayed=1), 20)
            assert time.time() >= before + 0.49
            asked = time.time()
            reserved = other.reserve(2, asked)
            assert ids(reserved.jobs) == [1]
            assert reserved.next_due is not None
            assert before + 59.99 - (time.time() - asked) <= reserved.next_due <= asked + 60.01, "early by no more than asking takes"


def test_a_row_that_falls_due_as_the_queue_looks_is_seen(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Photos(url) as photos:
        photos.insert(1, honeydew_test_lock=int((time.time() + 0.5) * 1e6))
        store = photos.open(poll_interval_s=300)
        sql = store.store._claims._sql
        ask = sql.next_due_us

        def ask_late(connection: sa.Connection) -> int | None:
            time.sleep(1.0)
            return ask(connection)

        monkeypatch.setattr(sql, "next_due_us", ask_late)
        reserved = store.reserve(1, time.time())
        assert ids(reserved.jobs) == [1] or (reserved.next_due or 0.0) < time.time() + 1.0


def test_an_insert_may_be_delayed(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, honeydew_test_lock=int((time.time() + 60) * 1e6))
        store = photos.open()
        assert store.counts() == Counts(delayed=1)
        assert store.reserve(1, time.time()).next_due == pytest.approx(time.time() + 60, abs=7)
        assert store.claim(1, time.time()) == []


def test_the_next_poll_is_due_after_the_interval_at_the_latest(url: str) -> None:
    with Photos(url) as photos:
        store = photos.open(poll_interval_s=8)
        assert {True} == {now + 7.2 <= store.reserve(1, now).next_due <= now + 8 for now in (1e9, 2e9, 3e9)}


def test_rows_that_fell_due_are_not_kept_waiting_by_new_ones_for_ever(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(*range(100))
        store = photos.open()
        store.nack(lifecycle.retried(store.claim_one(time.time(), only=50), FAILURE, time.time(), 0.0, None))
        order = [store.claim_one(time.time()).id for _ in range(40)]
        assert 50 in order
        assert [key for key in order if key != 50] == list(range(39))


def test_filter_by_state_and_by_expression(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(*({"id": number, "size": number} for number in range(1, 8)))
        store = photos.open()
        for key in (1, 2, 3):
            abandoned(store, key)
        claimed = store.claim_one(time.time(), only=4)
        size: Any = photos.table.c.size
        assert ids(store.all(Query(state=JobState.ABANDONED), limit=2)) == [1, 2, 3]
        assert sorted(ids(store.all(Query(where=size > 3), limit=1))) == [4, 5, 6, 7]
        assert ids(store.all(Query(where=size > 2, state=JobState.ABANDONED))) == [3]
        assert ids(store.all(Query(where=size.in_([2, 6]), ids=[2, 3, 6]))) == [2, 6]
        assert ids(store.all(Query(where=photos.table.c.honeydew_test_lock == ABANDONED))) == [1, 2, 3]
        assert store.all(Query(where=sa.false())) == []
        assert ids(store.all(Query(state=JobState.IN_PROGRESS))) == [claimed.id]
        with pytest.raises(ValueError, match="no column"):
            store.all(Query(where=sa.Table("photos", sa.MetaData(), sa.Column("colour", sa.Text)).c.colour == "red"))
        with pytest.raises(StoreError):
            store.all(Query(where=sa.text("nonsense = 1")))


def work(size: int) -> int:
    return size + 1


def test_a_task_says_what_is_done_about_a_row(url: str) -> None:
    tasks: dict[int, Any] = {1: "classify", 2: ("resize", 2, "big"), 3: (work, 7), 4: work}
    with Photos(url) as photos:
        photos.insert(*tasks)
        store = photos.open(task=lambda key, queue: tasks[key] if queue == "test" else None)
        jobs = {job.id: job for job in store.claim(9, time.time())}
        assert [(jobs[key].method, jobs[key].args, jobs[key].is_function) for key in (1, 2)] == [
            ("classify", (1,), False), ("resize", (2, "big"), False)]
        assert [jobs[key].payload.load() for key in (3, 4)] == [(work, (7,), {}), (work, (4,), {})]


def test_a_row_whose_task_cannot_be_told_is_abandoned_and_the_others_run(url: str) -> None:
    def task(key: int, queue: str) -> Any:
        return {1: None, 2: (), 3: 7}[key] if key < 4 else {}[key] if key == 4 else "run"

    with Photos(url) as photos:
        photos.insert(1, 2, 3, 4, 5)
        store = photos.open(task=task)
        reserved = store.reserve(4, 1e9)
        assert (ids(reserved.jobs), reserved.next_due) == ([], 1e9)
        assert ids(store.claim(9, time.time())) == [5]
        dead = store.all(Query(state=JobState.ABANDONED))
        assert ids(dead) == [1, 2, 3, 4]
        assert "expected a method's name" in dead[0].last_error.message
        assert dead[3].last_error.class_name == "KeyError"


def test_jobs_of_other_queues_come_in_only_if_they_are_rows_and_ask_for_the_same(url: str) -> None:
    with Photos(url, "one", "two") as photos:
        photos.insert(1, 2, honeydew_two_lock=None)
        one, two = photos.open("one"), photos.open("two")
        job = one.claim_one(time.time(), only=1)
        moved = lifecycle.arrived(job, "two", time.time())
        assert two.enqueue(moved) == [True]
        assert two.enqueue(moved) == [False]
        assert one.ack(lifecycle.moved(job, "two", time.time())) == [True]
        assert ids(two.claim(9, time.time())) == [1]
        for wrong in (moved._replace(id=99), moved._replace(id="x" * 20), moved._replace(id=2, method="other")):
            with pytest.raises(StoreError):
                two.enqueue(moved._replace(id=2), wrong)
        assert two.all(Query(ids=[2])) == []  # all or none


def test_a_queue_started_again_takes_back_what_it_had_reserved_and_no_other_does(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, 2)
        first = photos.open(owner="camera-1")
        job = first.claim_one(time.time())
        other = photos.open(owner="camera-2")
        assert list(other.opened.held) == []
        again = photos.open(owner="camera-1")
        assert [held.token for held in again.opened.held] == [job.token]
        assert again.ack(again.opened.held[0]) == [True]
        assert other.counts() == Counts(pending=1)


def test_a_database_whose_updates_return_nothing_will_do(url: str) -> None:
    """As MySQL's: the same, in more steps."""

    def engine() -> sa.Engine:
        made = sa.create_engine(url)
        made.dialect.update_returning = False
        return made

    with Photos(url) as photos:
        photos.insert(1, 2, 3)
        store, other = photos.open(source=engine), photos.open()
        a, b = store.claim(2, time.time())
        assert ids([a, b]) == [1, 2]
        assert store.find(1) == a
        assert ids(other.claim(9, time.time())) == [3]
        store.store._leases.renew()
        assert store.ack(a) == [True]
        assert store.ack(a) == [False]
        store.nack(lifecycle.retried(b, FAILURE, time.time(), 0.0, None))
        assert store.claim_one(time.time(), only=2).failures == 1
