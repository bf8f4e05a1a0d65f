"""The most recently used worker goes first."""

from __future__ import annotations

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.lru import LRU


class MRU(LRU):
    """The worker that became free last is next: its caches are warm, and the others may rest."""

    def _take_next(self) -> WorkerRef:
        return self._free.popitem(last=True)[0]
