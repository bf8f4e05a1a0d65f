"""The contract of a dispatcher, as tests."""

from __future__ import annotations

import random

import pytest

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.job import JobRecord
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.sent import sent


class DispatcherContract:
    """Subclass it in a test module, say how to make your dispatcher, and run pytest::

        class TestMyDispatcher(DispatcherContract):
            def make_dispatcher(self):
                return MyDispatcher()

    If yours may refuse a job although a worker is free, override ``make_job`` and ``make_worker`` to
    make such as fit each other.
    """

    def make_dispatcher(self) -> Dispatcher:
        """A new dispatcher that knows no worker."""
        raise NotImplementedError(f"{type(self).__name__}.make_dispatcher(self) must return a new dispatcher")

    def make_job(self) -> JobRecord:
        """A job that any worker may have."""
        return make_job()

    def make_worker(self, worker_id: str, node: str) -> WorkerRef:
        """A worker that may have any job."""
        return WorkerRef(worker_id, node)

    @pytest.fixture
    def dispatcher(self) -> Dispatcher:
        return self.make_dispatcher()

    def test_a_new_one_knows_no_worker(self, dispatcher: Dispatcher) -> None:
        assert list(dispatcher.known()) == []
        assert dispatcher.available() == 0
        assert dispatcher.check_out(self.make_job()) is None

    def test_a_worker_checked_in_is_known_and_free(self, dispatcher: Dispatcher) -> None:
        worker = self._check_in(dispatcher, "a")[0]
        assert list(dispatcher.known()) == [worker]
        assert dispatcher.available() == 1
        assert dispatcher.check_out(self.make_job()) == worker

    def test_checked_in_twice_is_the_same_as_once(self, dispatcher: Dispatcher) -> None:
        self._check_in(dispatcher, "a", "a")
        assert len(dispatcher.known()) == dispatcher.available() == 1
        assert dispatcher.check_out(self.make_job()) is not None
        assert dispatcher.check_out(self.make_job()) is None

    def test_a_worker_with_a_job_is_busy_and_still_known(self, dispatcher: Dispatcher) -> None:
        worker = self._check_in(dispatcher, "a")[0]
        dispatcher.check_out(self.make_job())
        assert dispatcher.available() == 0
        assert list(dispatcher.known()) == [worker]
        assert dispatcher.check_out(self.make_job()) is None

    def test_a_worker_back_from_its_job_is_free_again(self, dispatcher: Dispatcher) -> None:
        worker = self._check_in(dispatcher, "a")[0]
        for _ in range(3):
            assert dispatcher.check_out(self.make_job()) == worker
            dispatcher.check_in(worker)
        assert dispatcher.available() == 1

    def test_as_many_jobs_as_free_workers_go_to_as_many_workers(self, dispatcher: Dispatcher) -> None:
        workers = self._check_in(dispatcher, *"abcdefg")
        chosen = [dispatcher.check_out(self.make_job()) for _ in workers]
        assert set(chosen) == set(workers)
        assert dispatcher.check_out(self.make_job()) is None

    def test_a_free_worker_that_is_removed_gets_no_job(self, dispatcher: Dispatcher) -> None:
        a, b = self._check_in(dispatcher, "a", "b")
        dispatcher.remove(a)
        assert list(dispatcher.known()) == [b]
        assert dispatcher.available() == 1
        assert dispatcher.check_out(self.make_job()) == b
        assert dispatcher.check_out(self.make_job()) is None

    def test_a_busy_worker_that_is_removed_is_forgotten(self, dispatcher: Dispatcher) -> None:
        worker = self._check_in(dispatcher, "a")[0]
        dispatcher.check_out(self.make_job())
        dispatcher.remove(worker)
        assert list(dispatcher.known()) == []
        assert dispatcher.available() == 0

    def test_removing_one_that_is_not_known_is_ignored(self, dispatcher: Dispatcher) -> None:
        worker = self._check_in(dispatcher, "a")[0]
        dispatcher.remove(self.make_worker("unknown", "node 0"))
        dispatcher.remove(worker)
        dispatcher.remove(worker)
        assert list(dispatcher.known()) == []
        assert dispatcher.available() == 0

    def test_a_worker_is_removed_by_its_id(self, dispatcher: Dispatcher) -> None:
        self._check_in(dispatcher, "a")
        dispatcher.remove(WorkerRef("a"))
        assert list(dispatcher.known()) == []
        assert dispatcher.check_out(self.make_job()) is None

    def test_a_busy_worker_is_known_after_the_last_free_one_of_its_node_left(self, dispatcher: Dispatcher) -> None:
        a, b = self._check_in(dispatcher, "a", "b", nodes=1)
        busy = dispatcher.check_out(self.make_job())
        dispatcher.remove(b if busy == a else a)
        assert list(dispatcher.known()) == [busy]
        assert busy is not None
        dispatcher.check_in(busy)
        assert dispatcher.available() == 1
        assert dispatcher.check_out(self.make_job()) == busy

    def test_a_worker_with_a_new_id_takes_the_place_of_one_that_is_gone(self, dispatcher: Dispatcher) -> None:
        for generation in range(5):
            worker = self._check_in(dispatcher, f"worker {generation}", nodes=1)[0]
            assert dispatcher.check_out(self.make_job()) == worker
            dispatcher.remove(worker)

    def test_it_can_be_sent_to_the_process_of_its_queue(self, dispatcher: Dispatcher) -> None:
        copy = sent(dispatcher)
        worker = self._check_in(copy, "a")[0]
        assert copy.check_out(self.make_job()) == worker

    @pytest.mark.parametrize("seed", range(20))
    def test_it_keeps_account_through_a_long_random_history(self, dispatcher: Dispatcher, seed: int) -> None:
        chance = random.Random(seed)
        free, busy = set[WorkerRef](), set[WorkerRef]()
        for step in range(400):
            action = chance.choice(["come", "choose", "choose", "return", "return", "leave"])
            if action == "come" and len(free | busy) < 12:
                free.add(self._check_in(dispatcher, f"worker {step}", nodes=chance.randint(1, 4))[0])
            elif action == "choose":
                chosen = dispatcher.check_out(self.make_job())
                assert (chosen in free) if free else (chosen is None)
                if chosen is not None:
                    free.remove(chosen)
                    busy.add(chosen)
            elif action == "return" and busy:
                worker = chance.choice(sorted(busy, key=lambda worker: worker.id))
                dispatcher.check_in(worker)
                busy.remove(worker)
                free.add(worker)
            elif action == "leave" and free | busy and chance.random() < 0.5:
                worker = chance.choice(sorted(free | busy, key=lambda worker: worker.id))
                dispatcher.remove(worker)
                free.discard(worker)
                busy.discard(worker)
            assert dispatcher.available() == len(free)
            assert sorted(worker.id for worker in dispatcher.known()) == sorted(worker.id for worker in free | busy)

    def _check_in(self, dispatcher: Dispatcher, *worker_ids: str, nodes: int = 3) -> list[WorkerRef]:
        """Workers with these ids, spread over some nodes, check in."""
        workers = [self.make_worker(worker_id, f"node {number % nodes}") for number, worker_id in enumerate(worker_ids)]
        for worker in workers:
            dispatcher.check_in(worker)
        return workers
