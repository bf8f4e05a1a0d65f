"""The contract of dispatchers, on ours and on one that a user might write."""

from __future__ import annotations

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.dispatchers.locality import Locality
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.dispatchers.mru import MRU
from honeydew_ray.testing import DispatcherContract, make_job


class TestLRU(DispatcherContract):
    def make_dispatcher(self):
        return LRU()


class TestMRU(DispatcherContract):
    def make_dispatcher(self):
        return MRU()


class TestLRUNode(DispatcherContract):
    def make_dispatcher(self):
        return LRUNode()


class TestLocality(DispatcherContract):
    def make_dispatcher(self):
        return Locality()


class LabelDispatcher(Dispatcher):
    """Gives a job to a worker whose label ``does`` is the job's method."""

    def __init__(self):
        self._workers = {}  # each known worker, and whether it is free

    def check_in(self, worker):
        self._workers[worker] = True

    def check_out(self, job):
        for worker, free in self._workers.items():
            if free and worker.labels.get("does") == job.method:
                self._workers[worker] = False
                return worker
        return None

    def remove(self, worker):
        self._workers.pop(worker, None)

    def known(self):
        return list(self._workers)

    def available(self):
        return sum(self._workers.values())


class TestLabelDispatcher(DispatcherContract):
    def make_dispatcher(self):
        return LabelDispatcher()

    def make_job(self):
        return make_job(method="resize")

    def make_worker(self, worker_id, node):
        return WorkerRef(worker_id, node, {"does": "resize"})

    def test_a_job_that_no_worker_does_gets_none(self, dispatcher):
        dispatcher.check_in(self.make_worker("a", "node 0"))
        assert dispatcher.check_out(make_job(method="classify")) is None
        assert dispatcher.available() == 1
