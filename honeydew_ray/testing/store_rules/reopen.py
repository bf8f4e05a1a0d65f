"""What a store remembers, durable or not."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.job import JobState
from honeydew_ray.stores.base import Counts
from honeydew_ray.testing.sent import sent
from honeydew_ray.testing.store_driver import StoreDriver
from honeydew_ray.testing.store_rules.base import HELD_STATES, LOST, NOW, StoreRules, ids, new, put_in


class ReopenRules(StoreRules):
    """A durable store finds its jobs again; any other says that it is empty."""

    def test_a_store_can_be_sent_to_the_process_of_its_queue(self, tmp_path: Path) -> None:
        copy = sent(self.make_store(tmp_path))
        with self.drive(copy) as store:
            assert store.enqueue(new("a")) == [True]

    def test_each_opening_is_a_new_incarnation(self, tmp_path: Path) -> None:
        incarnations = set[str]()
        for _ in range(5):
            with self._opened(tmp_path) as store:
                incarnations.add(store.opened.incarnation)
        assert len(incarnations) == 5

    def test_a_store_that_is_not_durable_opens_empty(self, tmp_path: Path) -> None:
        self._need(tmp_path, durable=False)
        with self._opened(tmp_path) as store:
            store.enqueue(new("a"))
            store.remember_suspended(True)
        with self._opened(tmp_path) as store:
            assert store.opened.suspended is False
            assert list(store.opened.held) == []
            assert store.all() == []

    def test_a_durable_store_finds_its_jobs(self, tmp_path: Path) -> None:
        self._need(tmp_path, durable=True)
        with self._opened(tmp_path) as store:
            jobs = [put_in(store, state, state.value) for state in HELD_STATES]
            counts = store.counts()
        with self._opened(tmp_path) as store:
            assert store.counts() == counts == Counts(1, 1, 1, 1)
            assert [store.find(job.id) for job in jobs] == jobs

    def test_a_durable_store_keeps_the_line(self, tmp_path: Path) -> None:
        self._need(tmp_path, durable=True)
        with self._opened(tmp_path) as store:
            store.enqueue(*(new(n) for n in "abc"), new("high", 1), new("later", delay_s=5))
            job = store.claim_one(NOW, only="a")
            store.nack(lifecycle.gave_back(job, NOW))
        with self._opened(tmp_path) as store:
            store.enqueue(new("d"))
            assert ids(store.claim(9, NOW + 5)) == ["high", "a", "b", "c", "d", "later"]

    def test_a_durable_store_hands_over_what_is_in_progress(self, tmp_path: Path) -> None:
        self._need(tmp_path, durable=True)
        with self._opened(tmp_path) as store:
            store.enqueue(*(new(n) for n in "abc"))
            held = store.claim(2, NOW)
        with self._opened(tmp_path) as store:
            assert sorted(ids(store.opened.held)) == ["a", "b"]
            assert sorted(job.token for job in store.opened.held) == sorted(job.token for job in held)
            assert ids(store.claim(9, NOW)) == ["c"]

    def test_the_outcome_of_an_attempt_counts_after_the_queue_came_back(self, tmp_path: Path) -> None:
        self._need(tmp_path, durable=True)
        with self._opened(tmp_path) as store:
            store.enqueue(new("a"), new("b"))
            a, b = store.claim(2, NOW)
        with self._opened(tmp_path) as store:
            assert store.ack(lifecycle.succeeded(a, NOW, None)) == [True]
            assert store.nack(lifecycle.redelivered(b, LOST)) == [True]
            again = store.claim_one(NOW)
            assert (again.id, again.attempt, again.redeliveries) == ("b", 2, 1)
            assert again.incarnation.startswith(store.opened.incarnation)
            assert not b.incarnation.startswith(store.opened.incarnation)
            assert store.ack(lifecycle.succeeded(b, NOW, None)) == [False]

    @pytest.mark.parametrize("suspended", [True, False])
    def test_a_durable_store_remembers_whether_it_is_suspended(self, tmp_path: Path, suspended: bool) -> None:
        self._need(tmp_path, durable=True)
        with self._opened(tmp_path) as store:
            store.remember_suspended(not suspended)
            store.remember_suspended(suspended)
        for _ in range(2):
            with self._opened(tmp_path) as store:
                assert store.opened.suspended is suspended

    def test_a_durable_store_knows_an_id_after_it_was_reopened(self, tmp_path: Path) -> None:
        self._need(tmp_path, durable=True)
        with self._opened(tmp_path) as store:
            for state in HELD_STATES:
                put_in(store, state, state.value)
        with self._opened(tmp_path) as store:
            assert store.enqueue(*(new(state.value) for state in HELD_STATES)) == [False] * len(HELD_STATES)
            assert store.state(JobState.ABANDONED.value) is JobState.ABANDONED

    def test_two_directories_share_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        with self._opened(tmp_path / "one") as one, self._opened(tmp_path / "two") as two:
            one.enqueue(new("a"))
            assert two.all() == []

    @contextmanager
    def _opened(self, directory: Path) -> Generator[StoreDriver, None, None]:
        with self.drive(self.make_store(directory)) as driver:
            yield driver

    def _need(self, directory: Path, *, durable: bool) -> None:
        """Skip the test if it is about the other sort of store."""
        if self.make_store(directory).durable is not durable:
            pytest.skip("only for durable stores" if durable else "only for stores that are not durable")
