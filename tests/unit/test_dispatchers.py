"""Who gets the next job."""

from __future__ import annotations

from collections import Counter

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.dispatchers.mru import MRU
from honeydew_ray.testing import make_job

JOB = make_job("job")


def with_free(dispatcher, *names):
    """The dispatcher with these workers checked in; the node is the first letter of the name."""
    for name in names:
        dispatcher.check_in(ref(name))
    return dispatcher


def ref(name):
    return WorkerRef(name, name[0])


def choose(dispatcher, n=1):
    """The ids of the workers that the next jobs go to."""
    return [worker and worker.id for worker in (dispatcher.check_out(JOB) for _ in range(n))]


class TestLRU:
    def test_the_longest_free_worker_is_next(self):
        dispatcher = with_free(LRU(), "a", "b", "c")
        assert choose(dispatcher, 2) == ["a", "b"]
        with_free(dispatcher, "b", "a")
        assert choose(dispatcher, 4) == ["c", "b", "a", None]

    def test_checking_in_again_does_not_cost_the_turn(self):
        dispatcher = with_free(LRU(), "a", "b", "a")
        assert choose(dispatcher, 2) == ["a", "b"]


class TestMRU:
    def test_the_worker_free_last_is_next(self):
        dispatcher = with_free(MRU(), "a", "b", "c")
        assert choose(dispatcher, 2) == ["c", "b"]
        with_free(dispatcher, "b")
        assert choose(dispatcher, 3) == ["b", "a", None]

    def test_it_differs_from_lru_by_one_method(self):
        assert MRU.__bases__ == (LRU,)
        assert [name for name, value in vars(MRU).items() if callable(value)] == ["_take_next"]


class TestLRUNode:
    def test_nodes_take_turns_and_so_do_their_workers(self):
        dispatcher = with_free(LRUNode(), "a1", "a2", "b1", "b2", "c1")
        assert choose(dispatcher, 6) == ["a1", "b1", "c1", "a2", "b2", None]

    def test_an_unbalanced_cluster_alternates_while_both_nodes_have_free_workers(self):
        dispatcher = with_free(LRUNode(), "a1", *(f"b{n}" for n in range(1, 8)))
        nodes = []
        for _ in range(14):
            worker = dispatcher.check_out(JOB)
            nodes.append(worker.node)
            dispatcher.check_in(worker)
        assert nodes == ["a", "b"] * 7

    def test_the_workers_of_the_larger_node_take_turns(self):
        dispatcher = with_free(LRUNode(), "a1", *(f"b{n}" for n in range(1, 8)))
        uses = Counter()
        for _ in range(28):
            worker = dispatcher.check_out(JOB)
            uses[worker.id] += 1
            dispatcher.check_in(worker)
        assert uses == {"a1": 14} | {f"b{n}": 2 for n in range(1, 8)}

    def test_a_node_that_was_busy_is_next_when_it_is_free_again(self):
        dispatcher = with_free(LRUNode(), "a1", "b1", "b2", "b3")
        assert choose(dispatcher, 3) == ["a1", "b1", "b2"]
        with_free(dispatcher, "a1")
        assert choose(dispatcher, 2) == ["a1", "b3"]

    def test_a_new_node_is_next(self):
        dispatcher = with_free(LRUNode(), "a1", "a2", "b1", "b2")
        choose(dispatcher, 2)
        with_free(dispatcher, "c1")
        assert choose(dispatcher) == ["c1"]

    def test_a_node_keeps_its_turn_while_a_busy_worker_of_it_lives(self):
        """The original forgets the node, and its busy worker, when its last free worker leaves."""
        dispatcher = with_free(LRUNode(), "a1", "a2", "b1", "b2")
        assert choose(dispatcher, 2) == ["a1", "b1"]
        dispatcher.remove(ref("a2"))
        assert {worker.id for worker in dispatcher.known()} == {"a1", "b1", "b2"}
        with_free(dispatcher, "a1", "b1")
        assert choose(dispatcher, 3) == ["a1", "b2", "b1"]

    def test_a_node_is_used_again_after_it_was_left_by_all(self):
        dispatcher = with_free(LRUNode(), "a1", "b1")
        dispatcher.remove(ref("a1"))
        assert choose(dispatcher) == ["b1"]
        with_free(dispatcher, "a2", "b1")
        assert choose(dispatcher, 3) == ["a2", "b1", None]

    def test_nothing_is_kept_of_workers_and_nodes_that_are_gone(self):
        dispatcher = LRUNode()
        for number in range(500):
            worker = WorkerRef(f"worker {number}", f"node {number}")
            dispatcher.check_in(worker)
            if number % 2:
                dispatcher.check_out(JOB)
            dispatcher.remove(worker)
        kept = [value for value in vars(dispatcher).values() if isinstance(value, (dict, list, set))]
        assert kept, "the test looks at nothing"
        assert not any(kept)


@pytest.mark.parametrize("dispatcher", [LRU(), MRU(), LRUNode()], ids=repr)
def test_every_one_of_many_workers_is_chosen_once(dispatcher):
    workers = [WorkerRef(f"worker {n}", f"node {n % 17}") for n in range(300)]
    for worker in workers:
        dispatcher.check_in(worker)
    assert dispatcher.available() == 300
    assert {dispatcher.check_out(JOB) for _ in workers} == set(workers)
    assert dispatcher.available() == 0
