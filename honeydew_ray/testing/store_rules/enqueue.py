"""What `Store.open` and `Store.enqueue` promise."""

from __future__ import annotations

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import JobState
from honeydew_ray.payload import Payload
from honeydew_ray.stores.base import Counts
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.store_driver import StoreDriver
from honeydew_ray.testing.store_rules.base import FAILURE, HELD_STATES, NOW, StoreRules, ids, line, new, put_in


class EnqueueRules(StoreRules):
    """Custody begins here: one id is one job, and it is kept as it was given."""

    def test_a_new_store_is_empty_and_runs(self, store: StoreDriver) -> None:
        assert store.opened.incarnation
        assert store.opened.suspended is False
        assert list(store.opened.held) == []
        assert store.counts() == Counts()
        assert store.all() == []

    def test_a_new_job_is_held_in_its_state(self, store: StoreDriver) -> None:
        assert store.enqueue(new("now"), new("later", delay_s=10)) == [True, True]
        assert store.state("now") is JobState.PENDING
        assert store.state("later") is JobState.DELAYED
        assert store.counts() == Counts(pending=1, delayed=1)

    def test_jobs_of_a_batch_stand_in_line_in_order(self, store: StoreDriver) -> None:
        store.enqueue(new("c"), new("a"), new("b"))
        store.enqueue(new("e"), new("d"))
        assert line(store) == ["c", "a", "b", "e", "d"]

    @pytest.mark.parametrize("delay_s", [0.0, 5.0])
    def test_a_new_job_has_no_place_from_elsewhere(self, store: StoreDriver, delay_s: float) -> None:
        store.enqueue(*(new(n) for n in "abc"))
        store.enqueue(new("d", delay_s=delay_s)._replace(seq=2))
        assert ids(store.claim(9, NOW + 5)) == ["a", "b", "c", "d"]

    def test_an_empty_batch_is_no_trouble(self, store: StoreDriver) -> None:
        assert store.enqueue() == []
        assert store.counts() == Counts()

    @pytest.mark.parametrize("delay_s", [0.0, 10.0])
    def test_a_job_is_kept_as_it_was_given(self, store: StoreDriver, delay_s: float) -> None:
        job = make_job(
            "a", args=(1, "zwei"), kwargs={"c": [3]}, is_function=True, priority=-3, timeout_s=2.5, client="client",
            private={"tries": [1, 2]}, last_error=FAILURE,
        )
        given = lifecycle.enqueued(job, "test", NOW, delay_s)
        store.enqueue(given)
        held = store.find("a")
        assert held is not None
        assert held._replace(seq=0) == given
        assert (held.args, held.kwargs) == ((1, "zwei"), {"c": [3]})

    @pytest.mark.parametrize("state", HELD_STATES)
    def test_a_known_id_is_refused_and_nothing_changes(self, store: StoreDriver, state: JobState) -> None:
        before = put_in(store, state)
        counts = store.counts()
        other = new("a", priority=9)._replace(method="other", payload=Payload(b"other"))
        assert store.enqueue(other) == [False]
        assert store.enqueue(other._replace(state=JobState.DELAYED, due_at=NOW + 99)) == [False]
        assert store.find("a") == before
        assert store.counts() == counts

    def test_a_known_id_does_not_lose_its_place(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"))
        assert store.enqueue(new("c"), new("a"), new("d")) == [True, False, True]
        assert line(store) == ["a", "b", "c", "d"]

    def test_one_id_twice_in_a_batch_counts_once(self, store: StoreDriver) -> None:
        second = new("a")._replace(method="second")
        assert store.enqueue(new("a"), new("b"), second) == [True, True, False]
        held = store.find("a")
        assert held is not None
        assert held.method == "work"
        assert line(store) == ["a", "b"]

    def test_the_id_of_a_finished_job_is_free_again(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"))
        store.ack(lifecycle.succeeded(store.claim_one(NOW), NOW, None))
        assert store.enqueue(new("a")) == [True]
        assert line(store) == ["b", "a"]

    def test_the_id_of_a_cancelled_job_is_free_again_at_the_end_of_the_line(self, store: StoreDriver) -> None:
        store.enqueue(new("a"), new("b"))
        store.cancel("a")
        assert store.enqueue(new("a")) == [True]
        assert ids(store.all()) == ["b", "a"]
        assert line(store) == ["b", "a"]
