"""What is particular to the store in memory: its bounds, and what a call costs."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import contextmanager

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.errors import InvalidTransition
from honeydew_ray.failure import Failure
from honeydew_ray.job import CancelOutcome, JobRecord, JobState
from honeydew_ray.payload import Payload
from honeydew_ray.stores import _waiting
from honeydew_ray.stores.base import Counts, Query
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.testing import StoreDriver

NOW = 1_700_000_000.0
FAILURE = Failure("exception", "ValueError", "bad photo")


def small(job_id, priority=0, delay_s=0.0):
    return lifecycle.enqueued(JobRecord(job_id, "test", "work", Payload(b""), priority=priority), "test", NOW, delay_s)


def filled(n, priority=0, delay_s=0.0, **arguments):
    store = StoreDriver(MemoryStore(**arguments))
    store.enqueue(*(small(f"job {number}", priority, delay_s) for number in range(n)))
    return store


def ids(jobs):
    return [job.id for job in jobs]


def bury(store, *job_ids):
    """Enqueue these jobs, claim and abandon them."""
    store.enqueue(*(small(job_id) for job_id in job_ids))
    store.nack(*(lifecycle.abandoned(job, FAILURE, NOW) for job in store.claim(len(job_ids), NOW)))


@contextmanager
def entries_looked_at(monkeypatch):
    """Counts how many entries of lines the store passes while it runs."""
    seen = []
    pop = _waiting.Line._pop_entry
    sweep = _waiting.Line._sweep

    def counted_pop(line):
        seen.append(1)
        return pop(line)

    def counted_sweep(line):
        seen.append(len(line._jobs) - line._front)
        return sweep(line)

    with monkeypatch.context() as patch:
        patch.setattr(_waiting.Line, "_pop_entry", counted_pop)
        patch.setattr(_waiting.Line, "_sweep", counted_sweep)
        yield seen


class TestDeadList:
    def test_the_oldest_abandoned_job_is_forgotten_beyond_the_bound(self):
        with StoreDriver(MemoryStore(max_abandoned=3)) as store:
            bury(store, "a", "b", "c")
            assert ids(store.all()) == ["a", "b", "c"]
            bury(store, "d")
            assert ids(store.all()) == ["b", "c", "d"]
            assert store.counts() == Counts(abandoned=3)
            assert store.enqueue(small("a"), small("b")) == [True, False], "a is forgotten, b is not"

    def test_none_is_kept_if_none_may_be(self):
        with StoreDriver(MemoryStore(max_abandoned=0)) as store:
            bury(store, "a")
            assert store.counts() == Counts()
            assert store.all() == []

    def test_paging_goes_on_where_it_was_while_old_ones_are_forgotten(self):
        with StoreDriver(MemoryStore(max_abandoned=4)) as store:
            bury(store, "a", "b", "c", "d")
            page = store.page(limit=2)
            assert ids(page.jobs) == ["a", "b"]
            bury(store, "e")
            assert ids(store.page(cursor=page.cursor).jobs) == ["c", "d", "e"]
            bury(store, "f", "g", "h", "i")
            assert ids(store.page(cursor=page.cursor).jobs) == ["f", "g", "h", "i"]

    @pytest.mark.parametrize("bound", [-1, 1.5, None, "many", True])
    def test_a_bad_bound_is_refused(self, bound):
        with pytest.raises((TypeError, ValueError), match=r"MemoryStore: max_abandoned was .*; for example max_abandoned=3"):
            MemoryStore(max_abandoned=bound)


class TestWrongStates:
    @pytest.mark.parametrize("state", [JobState.IN_PROGRESS, JobState.DONE, JobState.ABANDONED])
    def test_a_batch_with_a_job_that_does_not_wait_is_refused_as_a_whole(self, state):
        with StoreDriver(MemoryStore()) as store:
            with pytest.raises(InvalidTransition, match=r"job b is .* and cannot be enqueued"):
                store.enqueue(small("a"), small("b")._replace(state=state))
            assert store.all() == []

    @pytest.mark.parametrize("state", [JobState.IN_PROGRESS, JobState.DONE, JobState.MOVED])
    def test_nothing_is_put_back_in_a_state_that_no_line_has(self, state):
        with filled(1) as store:
            job = store.claim_one(NOW)
            with pytest.raises(InvalidTransition, match="cannot be put back"):
                store.nack(job._replace(state=state))
            assert store.all() == [job]

    @pytest.mark.parametrize("limit", [0, -1, 1.5])
    def test_a_page_holds_at_least_one_job(self, limit):
        with filled(1) as store, pytest.raises((TypeError, ValueError), match="page: limit was"):
            store.page(limit=limit)


class TestCost:
    def test_taking_jobs_passes_each_entry_once(self, monkeypatch):
        with filled(2000) as store, entries_looked_at(monkeypatch) as seen:
            taken = [job for _ in range(500) for job in store.claim(4, NOW)]
            assert len(taken) == 2000
            assert sum(seen) == 2000

    @pytest.mark.parametrize("step", [1, -1, 3])
    def test_cancelling_all_passes_each_entry_a_few_times(self, monkeypatch, step):
        """Each sweep is paid for by the entries that died before it."""
        names = [f"job {number}" for number in range(3000)]
        order = names[::step] if abs(step) == 1 else [name for start in range(step) for name in names[start::step]]
        with filled(3000) as store, entries_looked_at(monkeypatch) as seen:
            assert {store.cancel(name) for name in order} == {CancelOutcome.CANCELLED}
            assert 0 < sum(seen) <= 3 * 3000
            assert store.counts() == Counts()

    def test_a_page_passes_over_no_more_than_it_shows(self, monkeypatch):
        with filled(5000) as store:
            cursor = store.page(limit=4000).cursor
            looked = []
            monkeypatch.setattr(_waiting, "_seq", lambda job: looked.append(1) or job.seq)
            assert ids(store.page(cursor=cursor, limit=10).jobs) == [f"job {number}" for number in range(4000, 4010)]
            assert 0 < len(looked) < 20

    def test_priorities_that_came_and_went_are_forgotten(self):
        with filled(1, priority=10**6) as store:
            for number in range(1000):
                store.enqueue(small("passing", priority=number))
                store.cancel("passing")
            lines = store.store._image._lines
            assert list(lines._lines) == [10**6]
            assert len(lines._order) < 20


class TestMemory:
    def test_a_waiting_job_costs_little_beside_its_record(self):
        n = 20_000
        store = StoreDriver(MemoryStore())
        jobs = [small(number) for number in range(n)]
        gc.collect()
        tracemalloc.start()
        try:
            for start in range(0, n, 1000):
                store.enqueue(*jobs[start : start + 1000])
            used = tracemalloc.get_traced_memory()[0] / n
        finally:
            tracemalloc.stop()
            store.close()
        record = JobRecord.__sizeof__(jobs[0]) + 16  # the record with its place in line, and the collector's header
        assert record < used < record + 200

    @pytest.mark.parametrize("delay_s", [0.0, 60.0])
    def test_jobs_that_were_cancelled_are_not_kept_alive(self, delay_s):
        with filled(1000, delay_s=delay_s) as store:
            for number in range(1000):
                store.cancel(f"job {number}")
            assert records_alive(store) == []

    @pytest.mark.parametrize("delay_s", [0.0, 60.0])
    def test_no_more_dead_jobs_than_live_ones_are_kept(self, delay_s):
        with filled(1000, delay_s=delay_s) as store:
            for number in range(0, 1000, 2):
                store.cancel(f"job {number}")
            for number in range(1, 600, 2):
                store.cancel(f"job {number}")
            assert store.counts() in (Counts(pending=200), Counts(delayed=200))
            assert 200 <= len(records_alive(store)) <= 400

    def test_jobs_that_finished_are_not_kept_alive(self):
        with filled(1000) as store:
            store.ack(*(lifecycle.succeeded(job, NOW, None) for job in store.claim(400, NOW)))
            assert len(records_alive(store)) == 600

    def test_a_job_claimed_out_of_turn_and_given_back_for_ever_leaves_no_trail(self):
        with filled(3) as store:
            for _ in range(500):
                store.nack(lifecycle.gave_back(store.claim_one(NOW, only="job 1"), NOW))
            assert len(records_alive(store)) <= 6
            assert ids(store.claim(3, NOW)) == ["job 0", "job 1", "job 2"]

    def test_a_delayed_job_claimed_and_given_back_for_ever_leaves_no_trail(self):
        with filled(3, delay_s=60) as store:
            for _ in range(500):
                store.nack(lifecycle.gave_back(store.claim_one(NOW, only="job 1"), NOW))
            assert len(records_alive(store)) <= 6
            assert ids(store.all(Query(state=JobState.DELAYED), limit=1)) == ["job 0", "job 2", "job 1"]


def records_alive(store):
    """The records of jobs that the store, and nothing else here, keeps alive."""
    found, seen, stack = [], set(), [store.store]
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, JobRecord):
            if thing.id is not None:  # the place of one that was taken
                found.append(thing)
        elif not isinstance(thing, type):
            stack += gc.get_referents(thing)
    return found
