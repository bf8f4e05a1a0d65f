"""The least recently used worker of the least recently used node goes first."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.job import JobRecord


@dataclass(slots=True)
class _Node:
    """A node with at least one known worker, free or busy."""

    name: str
    arrived: int  # no two nodes share it
    last_used: int = 0  # when a job last went there; 0: never
    workers: int = 0  # known, free and busy
    free: OrderedDict[WorkerRef, None] = field(default_factory=OrderedDict[WorkerRef, None])  # the longest free first

    @property
    def turn(self) -> tuple[int, int, str]:
        """Sorts nodes by whose turn it is: the least recently used first, then the first to arrive."""
        return self.last_used, self.arrived, self.name


class LRUNode(Dispatcher):
    """Nodes take turns, and so do the workers of each, so that jobs spread over the cluster.

    A node with one worker gets as many jobs as a node with seven, while both have a free worker.
    A node not used yet comes before those that were.
    """

    def __init__(self) -> None:
        self._known: dict[WorkerRef, WorkerRef] = {}
        self._nodes: dict[str, _Node] = {}  # each while a worker of it is known, busy ones too, so that it keeps its turn
        self._ready: list[tuple[int, int, str]] = []  # sorted: the turns of the nodes that have a free worker
        self._available = 0
        self._ticks = 0

    def __repr__(self) -> str:
        return "LRUNode()"

    def check_in(self, worker: WorkerRef) -> None:
        node = self._node_of(worker)
        if worker in node.free:
            return
        if not node.free:
            insort(self._ready, node.turn)
        node.free[self._known[worker]] = None
        self._available += 1

    def check_out(self, job: JobRecord) -> WorkerRef | None:
        return self._take_from(self._nodes[self._ready[0][2]]) if self._ready else None

    def _take_from(self, node: _Node) -> WorkerRef:
        """Take a node's least recently used free worker; there is at least one."""
        del self._ready[bisect_left(self._ready, node.turn)]
        worker, _ = node.free.popitem(last=False)
        node.last_used = self._tick()
        if node.free:
            insort(self._ready, node.turn)
        self._available -= 1
        return worker

    def remove(self, worker: WorkerRef) -> None:
        known = self._known.pop(worker, None)
        if known is None:
            return
        node = self._nodes[known.node]
        if known in node.free:
            del node.free[known]
            self._available -= 1
            if not node.free:
                del self._ready[bisect_left(self._ready, node.turn)]
        node.workers -= 1
        if not node.workers:
            del self._nodes[known.node]

    def known(self) -> Sequence[WorkerRef]:
        return list(self._known)

    def available(self) -> int:
        return self._available

    def _node_of(self, worker: WorkerRef) -> _Node:
        """The worker's node; both are known from now on."""
        known = self._known.get(worker)
        if known is not None:
            return self._nodes[known.node]
        node = self._nodes.get(worker.node)
        if node is None:
            node = self._nodes[worker.node] = _Node(worker.node, self._tick())
        node.workers += 1
        self._known[worker] = worker
        return node

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks
