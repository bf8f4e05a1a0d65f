"""Large buffers in Ray's object store, so that they never pass through a queue's heap."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ObjectLostError
from ray.experimental.locations import get_local_object_locations

from honeydew_ray.errors import QueueLost
from honeydew_ray.payload import HeldBuffer, Payload


@dataclass(frozen=True, slots=True)
class StoredBuffer:
    """A buffer in the object store: the object itself, or one of a list of them."""

    ref: Any
    nbytes: int
    index: int | None = None

    def fetch(self) -> Any:
        """The bytes, mapped and not copied where they are on this node. Raises `QueueLost` if they died with who held them."""
        try:
            value = ray.get(self.ref)
        except ObjectLostError as error:
            text = "a large argument or result is gone: the queue's process, or the node, that held it ended before it was fetched"
            raise QueueLost(text) from error
        return value if self.index is None else value[self.index]

    def nodes(self) -> Sequence[str]:
        """The nodes that have a copy, as far as this process knows, which is all of them if it owns the object."""
        found: Any = get_local_object_locations([self.ref])
        return [str(node) for node in found.get(self.ref, {}).get("node_ids", ())]


def as_arguments(buffers: Sequence[pickle.PickleBuffer]) -> list[Any]:
    """Buffers as arrays, which Ray carries as objects of their own when they are arguments of a call."""
    return [_array(buffer.raw()) for buffer in buffers]


def copied(buffers: Sequence[pickle.PickleBuffer]) -> list[Any]:
    """As `as_arguments`, apart from the objects that the buffers belong to: what becomes of those changes nothing here."""
    return [array.copy() for array in as_arguments(buffers)]


def own(arrays: Sequence[Any]) -> tuple[StoredBuffer, ...]:
    """Buffers that came as arguments, put into the store anew: they live as long as this process keeps them."""
    return tuple(StoredBuffer(ray.put(array), array.nbytes) for array in arrays)


def hold(arrays: Sequence[Any]) -> tuple[HeldBuffer, ...]:
    """Buffers that came as arguments, by value, for a store that outlives this process."""
    return tuple(HeldBuffer(array.tobytes()) for array in arrays)


def forwarded(payload: Payload) -> list[Any]:
    """A payload's buffers, to be passed on as arguments of a call."""
    return [buffer.ref if isinstance(buffer, StoredBuffer) else _array(buffer.fetch()) for buffer in payload.buffers]


def returned(ref: Any, sizes: Sequence[int]) -> tuple[StoredBuffer, ...]:
    """The buffers of a result, which are one object that the caller of the worker owns."""
    return tuple(StoredBuffer(ref, nbytes, index) for index, nbytes in enumerate(sizes))


def _array(data: Any) -> Any:
    import numpy as np  # most workers never have a large buffer, and need not wait for numpy as they start

    return np.frombuffer(data, dtype=np.uint8)
