"""What `Store.page` and `Store.counts` promise."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.payload import Payload
from honeydew_ray.stores.base import Counts, Query
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.store_driver import StoreDriver
from honeydew_ray.testing.store_rules.base import FAILURE, HELD_STATES, NOW, StoreRules, ids, new, put_in


class PageRules(StoreRules):
    """Every job that stays put is seen once, whatever happens around it."""

    def test_an_empty_store_has_one_empty_page(self, store: StoreDriver) -> None:
        page = store.page()
        assert list(page.jobs) == []
        assert page.cursor is None

    def test_a_state_is_shown_alone(self, store: StoreDriver) -> None:
        for state in HELD_STATES:
            put_in(store, state, state.value)
        for state in HELD_STATES:
            jobs = store.all(Query(state=state))
            assert ids(jobs) == [state.value]
            assert jobs[0].state is state
        assert store.all(Query(state=JobState.DONE)) == []
        assert sorted(ids(store.all())) == sorted(state.value for state in HELD_STATES)

    def test_counts_agree_with_what_is_shown(self, store: StoreDriver) -> None:
        for number, state in enumerate(HELD_STATES):
            for copy in range(number + 1):
                put_in(store, state, f"{state} {copy}")
        shown = Counter(job.state.value for job in store.all())
        assert store.counts() == Counts(**shown) == Counts(pending=1, delayed=2, in_progress=3, abandoned=4)

    def test_a_method_is_shown_alone(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n)._replace(method="resize" if n in "bd" else "classify") for n in "abcd"))
        assert ids(store.all(Query(method="resize"))) == ["b", "d"]
        assert ids(store.all(Query(method="resize"), limit=1)) == ["b", "d"]
        assert store.all(Query(method="unknown")) == []

    def test_the_jobs_of_some_ids_are_shown(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abcd"))
        store.claim_one(NOW)
        assert sorted(ids(store.all(Query(ids=["d", "a", "unknown", "d"])))) == ["a", "d"]
        assert sorted(ids(store.all(Query(ids=["d", "a", "b"]), limit=1))) == ["a", "b", "d"]
        assert store.all(Query(ids=[])) == []

    def test_all_conditions_must_hold(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n)._replace(method="resize" if n in "ac" else "classify") for n in "abcd"))
        store.claim_one(NOW)
        assert ids(store.all(Query(state=JobState.PENDING, method="resize"))) == ["c"]
        assert ids(store.all(Query(ids=["a", "b"], state=JobState.PENDING))) == ["b"]
        assert ids(store.all(Query(ids=["a", "b"], method="resize"))) == ["a"]
        assert store.all(Query(ids=["a"], state=JobState.PENDING, method="resize")) == []

    def test_a_job_may_be_shown_without_its_payload_and_is_whole_all_the_same(self, store: StoreDriver) -> None:
        large = [make_job(name, args=["x" * 100_000]) for name in "abc"]
        store.enqueue(*(lifecycle.enqueued(job, "test", NOW, 10 if job.id == "c" else 0) for job in large))
        store.nack(lifecycle.abandoned(store.claim_one(NOW, only="a"), FAILURE, NOW))
        shown = store.all()
        page = store.page(Query(ids=list("abc"), payloads=False), limit=3)
        assert page.cursor is None, "however large they are"
        for jobs in (page.jobs, store.all(Query(payloads=False)), store.all(Query(payloads=False), limit=1)):
            assert {job.id: _bare(job) for job in jobs} == {job.id: _bare(job) for job in shown}
        assert store.all() == shown
        assert {job.payload for job in store.claim(2, NOW + 10)} == {job.payload for job in shown if job.id != "a"}

    def test_jobs_in_line_are_shown_in_the_order_of_the_line(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("low", -2), new("b"), new("high", 2), new("c"))
        a, b = store.claim_one(NOW, only="a"), store.claim_one(NOW, only="b")
        store.nack(lifecycle.gave_back(b, NOW), lifecycle.retried(a, FAILURE, NOW, 0.0, None))
        for limit in (1, 2, 1000):
            assert ids(store.all(limit=limit)) == ["high", "b", "c", "a", "low"]

    def test_delayed_jobs_are_shown_in_the_order_of_their_times(self, store: StoreDriver) -> None:
        store.enqueue(new("third", delay_s=3), new("first", delay_s=1), new("high", 9, delay_s=4), new("second", delay_s=2))
        for limit in (1, 3, 1000):
            assert ids(store.all(Query(state=JobState.DELAYED), limit=limit)) == ["first", "second", "third", "high"]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    def test_no_page_is_longer_than_its_limit_and_the_last_has_no_cursor(self, store: StoreDriver, limit: int) -> None:
        store.enqueue(*(new(f"job {n}") for n in range(6)))
        page = store.page(limit=limit)
        sizes = [len(page.jobs)]
        while page.cursor is not None:
            page = store.page(cursor=page.cursor, limit=limit)
            sizes.append(len(page.jobs))
        assert sum(sizes) == 6
        assert max(sizes) <= limit
        assert all(size == limit for size in sizes[:-1])

    @pytest.mark.parametrize("limit", [1, 2, 5])
    def test_every_state_is_seen_once_over_all_pages(self, store: StoreDriver, limit: int) -> None:
        names = [f"{state} {number}" for state in HELD_STATES for number in range(3)]
        for state in HELD_STATES:
            for number in range(3):
                put_in(store, state, f"{state} {number}")
        assert sorted(ids(store.all(limit=limit))) == sorted(names)

    @pytest.mark.parametrize("state", HELD_STATES)
    def test_jobs_that_stay_put_are_seen_once_while_others_come_and_go(self, store: StoreDriver, state: JobState) -> None:
        """The jobs with even numbers stay; between two pages odd ones leave and new ones come."""
        for number in range(20):
            put_in(store, state, f"{number:02}")
        page = store.page(limit=3)
        seen = Counter(ids(page.jobs))
        changes = iter(range(1, 20, 2))
        while page.cursor is not None:
            for number in islice(changes, 1):
                _leave(store, f"{number:02}", state)
                put_in(store, state, f"new {number:02}")
            page = store.page(cursor=page.cursor, limit=3)
            seen.update(ids(page.jobs))
        assert {number: seen[f"{number:02}"] for number in range(0, 20, 2)} == dict.fromkeys(range(0, 20, 2), 1)


def _bare(job: JobRecord) -> JobRecord:
    return job._replace(payload=Payload(b""))


def _leave(store: StoreDriver, job_id: str, state: JobState) -> None:
    """Take a job out of this state, where a store can."""
    if state in (JobState.PENDING, JobState.DELAYED):
        store.cancel(job_id)
    elif state is JobState.IN_PROGRESS:
        job = store.find(job_id)
        assert job is not None
        store.ack(lifecycle.succeeded(job, NOW, None))
