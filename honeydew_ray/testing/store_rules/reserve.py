"""What `Store.reserve` promises."""

from __future__ import annotations

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import JobState
from honeydew_ray.stores.base import Counts
from honeydew_ray.testing.store_driver import StoreDriver
from honeydew_ray.testing.store_rules.base import NOW, TICK, StoreRules, ids, line, new, put_in


class ReserveRules(StoreRules):
    """Highest priority first, then first in line; delayed jobs join the line when they are due."""

    def test_an_empty_store_gives_nothing(self, store: StoreDriver) -> None:
        assert store.claim(5, NOW) == []
        assert store.reserve(5, NOW).next_due is None

    def test_the_first_in_line_goes_first(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abc"))
        assert [ids(store.claim(1, NOW)) for _ in range(4)] == [["a"], ["b"], ["c"], []]

    def test_at_most_n_jobs_are_claimed(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abc"))
        assert store.claim(0, NOW) == []
        assert ids(store.claim(2, NOW)) == ["a", "b"]
        assert ids(store.claim(2, NOW)) == ["c"]

    def test_a_higher_priority_goes_first(self, store: StoreDriver) -> None:
        store.enqueue(new("low", -1), new("a"), new("high", 7), new("b"), new("higher", 1000), new("high2", 7))
        assert ids(store.claim(2, NOW)) == ["higher", "high"]
        store.enqueue(new("highest", 2000))
        assert line(store) == ["highest", "high2", "a", "b", "low"]

    def test_a_claimed_job_is_in_progress_under_a_token_of_this_opening(self, store: StoreDriver) -> None:
        given = new("a")
        store.enqueue(given)
        job = store.claim_one(NOW + 5)
        assert job.incarnation.startswith(store.opened.incarnation)
        assert job._replace(seq=0) == lifecycle.claimed(given, job.incarnation, NOW + 5)
        assert (job.state, job.attempt, job.started_at) == (JobState.IN_PROGRESS, 1, NOW + 5)
        assert job.seq != 0, "a job claimed from the line must know its place, to come back to it"
        assert store.find("a") == job
        assert store.counts() == Counts(in_progress=1)

    def test_each_attempt_has_a_token_of_its_own(self, store: StoreDriver) -> None:
        store.enqueue(new("a"))
        tokens = set[object]()
        for number in range(1, 5):
            job = store.claim_one(NOW)
            assert job.attempt == number
            tokens.add(job.token)
            store.nack(lifecycle.gave_back(job, NOW))
        assert len(tokens) == 4

    def test_a_delayed_job_is_claimed_when_it_is_due_and_not_a_tick_before(self, store: StoreDriver) -> None:
        store.enqueue(new("a", delay_s=10))
        assert store.claim(1, NOW + 10 - TICK) == []
        assert store.state("a") is JobState.DELAYED
        assert store.claim_one(NOW + 10).id == "a"

    def test_next_due_is_the_earliest_due_time_of_a_delayed_job(self, store: StoreDriver) -> None:
        store.enqueue(new("late", delay_s=30), new("soon", delay_s=10), new("now"))
        assert store.reserve(0, NOW).next_due == NOW + 10
        assert store.reserve(1, NOW).next_due == NOW + 10
        store.cancel("soon")
        assert store.reserve(1, NOW).next_due == NOW + 30
        assert store.reserve(1, NOW + 30).next_due is None

    def test_a_delayed_job_of_which_the_claim_was_put_off_is_pending_once_due(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b", delay_s=10))
        reserved = store.reserve(1, NOW + 10)
        assert ids(reserved.jobs) == ["a"]
        assert reserved.next_due is None
        assert store.counts() == Counts(pending=1, in_progress=1)
        assert store.state("b") is JobState.PENDING

    def test_due_jobs_join_the_end_of_their_line_the_earliest_due_first(self, store: StoreDriver) -> None:
        store.enqueue(new("third", delay_s=3), new("first", delay_s=1), new("second", delay_s=2), new("high", 1, delay_s=3))
        store.enqueue(new("in line"))
        assert ids(store.claim(9, NOW + 3)) == ["high", "in line", "first", "second", "third"]

    def test_a_job_that_comes_after_a_due_one_has_joined_stands_behind_it(self, store: StoreDriver) -> None:
        store.enqueue(new("due", delay_s=1))
        store.reserve(0, NOW + 1)
        store.enqueue(new("after"))
        assert ids(store.claim(9, NOW + 1)) == ["due", "after"]

    def test_jobs_due_at_the_same_time_keep_their_order(self, store: StoreDriver) -> None:
        names = [f"job {n}" for n in range(20, 0, -1)]
        store.enqueue(*(new(name, delay_s=5) for name in names))
        assert ids(store.claim(99, NOW + 6)) == names

    def test_only_claims_one_job_wherever_it_stands(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"), new("c"), new("high", 5))
        assert ids(store.claim(1, NOW, only="b")) == ["b"]
        assert line(store) == ["high", "a", "c"]

    def test_only_claims_no_other_job(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"))
        assert ids(store.claim(5, NOW, only="b")) == ["b"]
        assert store.claim(5, NOW, only="unknown") == []
        assert store.counts() == Counts(pending=1, in_progress=1)

    def test_only_claims_a_job_that_is_not_due(self, store: StoreDriver) -> None:
        store.enqueue(new("a", delay_s=10), new("b", delay_s=20))
        reserved = store.reserve(1, NOW, only="a")
        assert ids(reserved.jobs) == ["a"]
        assert reserved.next_due == NOW + 20
        assert store.counts() == Counts(delayed=1, in_progress=1)
        assert ids(store.claim(9, NOW + 20)) == ["b"]

    @pytest.mark.parametrize("state", [JobState.IN_PROGRESS, JobState.ABANDONED])
    def test_only_claims_nothing_that_does_not_wait(self, store: StoreDriver, state: JobState) -> None:
        before = put_in(store, state)
        assert store.claim(1, NOW, only="a") == []
        assert store.claim(1, NOW) == []
        assert store.find("a") == before
