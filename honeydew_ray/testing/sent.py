"""What becomes of a value on its way to another process."""

from __future__ import annotations

from typing import TypeVar, cast

from honeydew_ray.payload import dumps, loads

T = TypeVar("T")


def sent(value: T) -> T:
    """The value as it arrives in another process: pickled and loaded."""
    data, buffers = dumps(value, "the value")
    return cast("T", loads(data, buffers))
