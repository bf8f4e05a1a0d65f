"""What `Store.ack` and `Store.nack` promise: the fence around each attempt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.payload import Payload
from honeydew_ray.stores.base import Counts
from honeydew_ray.testing.store_driver import StoreDriver
from honeydew_ray.testing.store_rules.base import FAILURE, HELD_STATES, LOST, NOW, TICK, StoreRules, ids, line, new, put_in

STALE: dict[str, Callable[[JobRecord], JobRecord]] = {
    "an older attempt": lambda job: job._replace(attempt=job.attempt - 1),
    "an attempt that was never issued": lambda job: job._replace(attempt=job.attempt + 1),
    "another incarnation": lambda job: job._replace(incarnation="another"),
    "another job": lambda job: job._replace(id="another"),
}
"""How a token can be wrong."""

LAST_STEPS: dict[str, Callable[[JobRecord], JobRecord]] = {
    "succeeded": lambda job: lifecycle.succeeded(job, NOW, Payload(b"result")),
    "moved": lambda job: lifecycle.moved(job, "elsewhere", NOW, FAILURE),
    "cancelled": lambda job: lifecycle.cancelled(job, NOW),
}
"""The steps after which a job leaves the store."""

STEPS_BACK: dict[str, Callable[[JobRecord], JobRecord]] = {
    "retried": lambda job: lifecycle.retried(job, FAILURE, NOW, 0.0, ["note"]),
    "retried later": lambda job: lifecycle.retried(job, FAILURE, NOW, 10.0, {"n": 1}),
    "redelivered": lambda job: lifecycle.redelivered(job, LOST),
    "gave back": lambda job: lifecycle.gave_back(job, NOW),
    "abandoned": lambda job: lifecycle.abandoned(job, FAILURE, NOW),
}
"""The steps after which the store keeps a job."""


class OutcomeRules(StoreRules):
    """An outcome counts only while the store holds that very attempt in progress."""

    @pytest.mark.parametrize("step", LAST_STEPS)
    def test_ack_removes_a_finished_job(self, store: StoreDriver, step: str) -> None:
        store.enqueue(new("a"), new("b"))
        job = store.claim_one(NOW)
        assert store.ack(LAST_STEPS[step](job)) == [True]
        assert store.find("a") is None
        assert store.counts() == Counts(pending=1)
        assert line(store) == ["b"]

    def test_a_second_ack_changes_nothing(self, store: StoreDriver) -> None:
        put_in(store, JobState.PENDING)
        job = lifecycle.succeeded(store.claim_one(NOW), NOW, None)
        assert store.ack(job, job) == [True, False]
        assert store.ack(job) == [False]
        assert store.nack(job._replace(state=JobState.PENDING)) == [False]
        assert store.all() == []

    def test_ack_answers_for_each_job_of_a_batch(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abc"))
        a, b, c = (lifecycle.succeeded(job, NOW, None) for job in store.claim(3, NOW))
        assert store.ack(a, b._replace(attempt=9), c) == [True, False, True]
        assert ids(store.all()) == ["b"]
        assert store.ack() == []

    @pytest.mark.parametrize("stale", STALE)
    def test_a_stale_ack_changes_nothing(self, store: StoreDriver, stale: str) -> None:
        job = put_in(store, JobState.IN_PROGRESS)
        assert store.ack(lifecycle.succeeded(STALE[stale](job), NOW, None)) == [False]
        assert store.all() == [job]

    @pytest.mark.parametrize("stale", STALE)
    @pytest.mark.parametrize("step", STEPS_BACK)
    def test_a_stale_nack_changes_nothing(self, store: StoreDriver, stale: str, step: str) -> None:
        job = put_in(store, JobState.IN_PROGRESS)
        assert store.nack(STEPS_BACK[step](STALE[stale](job))) == [False]
        assert store.all() == [job]
        assert store.counts() == Counts(in_progress=1)

    @pytest.mark.parametrize("state", [state for state in HELD_STATES if state is not JobState.IN_PROGRESS])
    def test_an_outcome_of_a_job_not_in_progress_changes_nothing(self, store: StoreDriver, state: JobState) -> None:
        job = put_in(store, state)
        running = job._replace(state=JobState.IN_PROGRESS, incarnation=store.opened.incarnation)
        assert store.ack(lifecycle.succeeded(running, NOW, None)) == [False]
        assert store.nack(lifecycle.redelivered(running, LOST)) == [False]
        assert store.all() == [job]

    def test_the_outcome_of_an_attempt_that_was_given_back_changes_nothing(self, store: StoreDriver) -> None:
        store.enqueue(new("a"))
        first = store.claim_one(NOW)
        store.nack(lifecycle.redelivered(first, LOST))
        second = store.claim_one(NOW)
        assert store.ack(lifecycle.succeeded(first, NOW, None)) == [False]
        assert store.nack(lifecycle.retried(first, FAILURE, NOW, 0.0, None)) == [False]
        assert store.all() == [second]
        assert store.ack(lifecycle.succeeded(second, NOW, None)) == [True]

    def test_the_outcome_of_a_job_that_is_gone_does_not_count_for_another_of_its_id(self, store: StoreDriver) -> None:
        first = put_in(store, JobState.IN_PROGRESS)
        store.ack(lifecycle.succeeded(first, NOW, None))
        second = put_in(store, JobState.IN_PROGRESS)
        assert second.attempt == 1
        assert second.token != first.token
        assert store.ack(lifecycle.succeeded(first, NOW, None)) == [False]
        assert store.nack(lifecycle.redelivered(first, LOST)) == [False]
        assert store.all() == [second]

    @pytest.mark.parametrize("step", STEPS_BACK)
    def test_nack_keeps_the_job_as_it_now_is(self, store: StoreDriver, step: str) -> None:
        store.enqueue(new("a"))
        job = STEPS_BACK[step](store.claim_one(NOW))
        assert store.nack(job) == [True]
        held = store.find("a")
        assert held is not None
        assert held._replace(seq=0) == job._replace(seq=0)
        assert store.nack(job) == [False]

    def test_nack_answers_for_each_job_of_a_batch(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abc"))
        a, b, c = store.claim(3, NOW)
        back = lifecycle.gave_back(a, NOW)
        batch = [back, lifecycle.gave_back(b, NOW)._replace(attempt=9), lifecycle.abandoned(c, FAILURE, NOW), back]
        assert store.nack(*batch) == [True, False, True, False]
        assert store.counts() == Counts(pending=1, in_progress=1, abandoned=1)
        assert store.nack() == []

    def test_a_job_given_back_takes_the_place_it_had(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abcde"))
        a, b, c = store.claim(3, NOW)
        store.enqueue(new("f"))
        store.nack(lifecycle.gave_back(c, NOW))
        store.nack(lifecycle.redelivered(a, LOST))
        assert ids(store.all()) == ["a", "c", "d", "e", "f", "b"]  # b is in progress, shown after those in line
        assert line(store) == ["a", "c", "d", "e", "f"]
        store.nack(lifecycle.gave_back(b, NOW))
        assert line(store) == ["b"]

    def test_a_job_claimed_out_of_turn_and_given_back_takes_the_place_it_had(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "abcd"))
        for _ in range(3):
            store.nack(lifecycle.gave_back(store.claim_one(NOW, only="c"), NOW))
        assert line(store) == ["a", "b", "c", "d"]

    def test_a_job_given_back_stays_behind_higher_priorities(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"))
        a = store.claim_one(NOW)
        store.enqueue(new("high", 1))
        store.nack(lifecycle.gave_back(a, NOW))
        assert line(store) == ["high", "a", "b"]

    def test_a_job_retried_goes_to_the_end_of_its_line(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"), new("low", -1))
        store.nack(lifecycle.retried(store.claim_one(NOW), FAILURE, NOW, 0.0, None))
        assert line(store) == ["b", "a", "low"]

    def test_a_job_retried_later_waits_for_its_time(self, store: StoreDriver) -> None:
        store.enqueue(new("a"))
        store.nack(lifecycle.retried(store.claim_one(NOW), FAILURE, NOW, 7.0, None))
        assert store.counts() == Counts(delayed=1)
        assert store.reserve(1, NOW + 7 - TICK).next_due == NOW + 7
        store.enqueue(new("b"))
        assert ids(store.claim(2, NOW + 7)) == ["b", "a"]

    def test_a_job_claimed_before_its_time_and_given_back_waits_on(self, store: StoreDriver) -> None:
        store.enqueue(new("later", delay_s=20), new("a", delay_s=10))
        store.nack(lifecycle.gave_back(store.claim_one(NOW, only="a"), NOW))
        assert store.counts() == Counts(delayed=2)
        assert store.claim(1, NOW + 10 - TICK) == []
        assert ids(store.claim(2, NOW + 20)) == ["a", "later"]

    def test_an_abandoned_job_is_kept_and_never_claimed(self, store: StoreDriver) -> None:
        job = put_in(store, JobState.ABANDONED)
        assert (job.failures, job.last_error) == (1, FAILURE)
        assert store.counts() == Counts(abandoned=1)
        assert store.claim(9, NOW + 1e6) == []
