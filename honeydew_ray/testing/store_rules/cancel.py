"""What `Store.cancel` promises."""

from __future__ import annotations

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import CancelOutcome, JobState
from honeydew_ray.stores.base import Counts
from honeydew_ray.testing.store_driver import StoreDriver
from honeydew_ray.testing.store_rules.base import FAILURE, NOW, StoreRules, ids, line, new, put_in


class CancelRules(StoreRules):
    """A job cancelled while it waits never starts."""

    @pytest.mark.parametrize("state", [JobState.PENDING, JobState.DELAYED])
    def test_a_waiting_job_is_removed(self, store: StoreDriver, state: JobState) -> None:
        put_in(store, state)
        assert store.cancel("a") is CancelOutcome.CANCELLED
        assert store.find("a") is None
        assert store.counts() == Counts()
        reserved = store.reserve(9, NOW + 1e6)
        assert list(reserved.jobs) == []
        assert reserved.next_due is None
        assert store.cancel("a") is CancelOutcome.NOT_FOUND

    def test_a_job_in_progress_stays_as_it_is(self, store: StoreDriver) -> None:
        job = put_in(store, JobState.IN_PROGRESS)
        assert store.cancel("a") is CancelOutcome.IN_PROGRESS
        assert store.all() == [job]
        assert store.ack(lifecycle.succeeded(job, NOW, None)) == [True]

    def test_an_abandoned_job_is_not_found_and_stays(self, store: StoreDriver) -> None:
        job = put_in(store, JobState.ABANDONED)
        assert store.cancel("a") is CancelOutcome.NOT_FOUND
        assert store.all() == [job]

    def test_an_unknown_job_is_not_found(self, store: StoreDriver) -> None:
        assert store.cancel("never seen") is CancelOutcome.NOT_FOUND
        put_in(store, JobState.IN_PROGRESS)
        store.ack(lifecycle.succeeded(store.all()[0], NOW, None))
        assert store.cancel("a") is CancelOutcome.NOT_FOUND

    def test_the_others_keep_their_places(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abcde"), new("high", 3), new("high2", 3))
        for job_id in ("high", "a", "c", "e"):
            assert store.cancel(job_id) is CancelOutcome.CANCELLED
        assert store.counts() == Counts(pending=3)
        assert line(store) == ["high2", "b", "d"]

    @pytest.mark.parametrize("step", [2, 3, 7])
    def test_the_others_keep_their_times(self, store: StoreDriver, step: int) -> None:
        delays = [(number * 37) % 100 + 1 for number in range(100)]  # each number from 1 to 100, well mixed
        store.enqueue(*(new(f"job {delay}", delay_s=delay) for delay in delays))
        kept = [delay for delay in range(1, 101) if delay % step == 1]
        for delay in delays:
            if delay not in kept:
                assert store.cancel(f"job {delay}") is CancelOutcome.CANCELLED
        assert store.reserve(0, NOW).next_due == NOW + kept[0]
        assert ids(store.claim(3, NOW + kept[2])) == [f"job {delay}" for delay in kept[:3]]
        assert ids(store.claim(100, NOW + 100)) == [f"job {delay}" for delay in kept[3:]]

    @pytest.mark.parametrize("delay_s", [0.0, 10.0])
    def test_a_job_that_waits_for_its_next_attempt_is_removed(self, store: StoreDriver, delay_s: float) -> None:
        job = put_in(store, JobState.IN_PROGRESS)
        store.nack(lifecycle.retried(job, FAILURE, NOW, delay_s, None))
        assert store.cancel("a") is CancelOutcome.CANCELLED
        assert store.claim(1, NOW + 10) == []
        assert store.all() == []

    def test_a_late_outcome_does_not_revive_a_cancelled_job(self, store: StoreDriver) -> None:
        job = put_in(store, JobState.IN_PROGRESS)
        store.nack(lifecycle.gave_back(job, NOW))
        store.cancel("a")
        assert store.nack(lifecycle.gave_back(job, NOW)) == [False]
        assert store.all() == []

    def test_a_job_that_came_back_and_was_cancelled_is_gone(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"), new("c"))
        a, b = store.claim(2, NOW)
        store.nack(lifecycle.gave_back(a, NOW), lifecycle.gave_back(b, NOW))
        assert store.cancel("a") is CancelOutcome.CANCELLED
        assert line(store) == ["b", "c"]
