"""The least recently used worker goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.job import JobRecord


class LRU(Dispatcher):
    """The worker that has been free the longest is next, so that all take turns."""

    def __init__(self) -> None:
        self._known: dict[WorkerRef, WorkerRef] = {}
        self._free: OrderedDict[WorkerRef, None] = OrderedDict()  # the longest free first; each is known

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def check_in(self, worker: WorkerRef) -> None:
        self._free.setdefault(self._known.setdefault(worker, worker), None)

    def check_out(self, job: JobRecord) -> WorkerRef | None:
        return self._take_next() if self._free else None

    def remove(self, worker: WorkerRef) -> None:
        self._known.pop(worker, None)
        self._free.pop(worker, None)

    def known(self) -> Sequence[WorkerRef]:
        return list(self._known)

    def available(self) -> int:
        return len(self._free)

    def _take_next(self) -> WorkerRef:
        """Take one of the free workers; there is at least one."""
        return self._free.popitem(last=False)[0]
