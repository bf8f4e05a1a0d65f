"""A worker near the job's large arguments goes first."""

from __future__ import annotations

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.job import JobRecord


class Locality(LRUNode):
    """A job goes to the node that has the most bytes of its large arguments, if a worker there is free; else as `LRUNode` says.

    Large arguments (100 KB and more) of a job in a `MemoryStore` lie in Ray's object store: on the
    queue's node, and on each node where a worker has read them. A durable store keeps them itself,
    near no worker. Small arguments travel with the job and have no place.
    """

    def __repr__(self) -> str:
        return "Locality()"

    def check_out(self, job: JobRecord) -> WorkerRef | None:
        held = job.payload.bytes_by_node() if job.payload.buffers else {}
        for name in sorted(held, key=lambda name: -held[name]):
            node = self._nodes.get(name)
            if node is not None and node.free:
                return self._take_from(node)
        return super().check_out(job)
