"""Large values that must outlive the process which had them: kept by Ray's head node, as Ray keeps classes."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from ray.experimental import internal_kv

LARGE_BYTES = 50_000
"""Arguments of an actor above some 100,000 bytes live in the object store, and die with their owner; then Ray cannot restart the actor."""

_PART_BYTES = 16_000_000  # far below the largest message that the head node takes


class Kept(NamedTuple):
    """Where a value is kept."""

    key: str
    parts: int

    def load(self) -> bytes:
        """The value. Blocks for calls to the head node; raises `LookupError` if it was dropped."""
        return b"".join(self._part(number) for number in range(self.parts))

    def drop(self) -> None:
        """Keep it no more. Blocks for calls to the head node."""
        for number in range(self.parts):
            internal_kv._internal_kv_del(self._name(number))  # pyright: ignore

    def _part(self, number: int) -> bytes:
        part: Any = internal_kv._internal_kv_get(self._name(number))  # pyright: ignore
        if part is None:
            raise LookupError(f"part {number} of {self.key} is kept no more")
        return bytes(part)

    def _name(self, number: int) -> bytes:
        return f"honeydew kept {self.key} {number}".encode()


def keep(value: bytes) -> Kept:
    """Have the head node keep a value until it is dropped, or the cluster ends. Blocks for calls to the head node."""
    kept = Kept(uuid.uuid4().hex, -(-len(value) // _PART_BYTES))
    try:
        for number in range(kept.parts):
            part = value[number * _PART_BYTES : (number + 1) * _PART_BYTES]
            internal_kv._internal_kv_put(kept._name(number), part)  # pyright: ignore
    except BaseException:
        kept.drop()
        raise
    return kept
