"""A pickled value on its way between a client and a worker; nobody in between looks inside."""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, ClassVar, Protocol

import cloudpickle

from honeydew_ray.errors import PayloadError
from honeydew_ray.failure import exception_text

LARGE_BUFFER_BYTES = 100_000
"""Buffers (of numpy arrays and the like) of this size and more travel beside the pickle, not in it."""


_PLAIN = frozenset({type(None), bool, int, float, str, bytes})  # which the plain pickler does as well, ten times faster


class Buffer(Protocol):
    """A large block of bytes that lives elsewhere; fetched only by whoever loads the payload."""

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        ...

    def fetch(self) -> Any:
        """The bytes, as anything that supports the buffer protocol. May block."""
        ...

    def nodes(self) -> Sequence[str]:
        """The ids of the nodes that have the bytes in shared memory."""
        ...


@dataclass(frozen=True, slots=True)
class HeldBuffer:
    """A buffer that is here, in this process's own memory."""

    data: bytes

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        return len(self.data)

    def fetch(self) -> bytes:
        """The bytes."""
        return self.data

    def nodes(self) -> Sequence[str]:
        """None: they are in this process alone."""
        return ()


@dataclass(frozen=True, slots=True)
class Payload:
    """A pickle (protocol 5), and the large buffers that were left out of it, in order."""

    data: bytes
    buffers: tuple[Buffer, ...] = ()

    @property
    def nbytes(self) -> int:
        """The size of the pickle and its buffers together."""
        return len(self.data) + sum(buffer.nbytes for buffer in self.buffers)

    def bytes_by_node(self) -> dict[str, int]:
        """How many bytes of its large buffers each node has in shared memory."""
        found: dict[str, int] = {}
        for buffer in self.buffers:
            for node in buffer.nodes():
                found[node] = found.get(node, 0) + buffer.nbytes
        return found

    def load(self) -> Any:
        """Rebuild the value. Runs whatever code the pickle names: only workers and clients call this."""
        return loads(self.data, (buffer.fetch() for buffer in self.buffers))


_TABLE: Any = cloudpickle.Pickler.dispatch_table


def _with_filename(code: CodeType) -> Any:
    make, parts = _TABLE[CodeType](code)
    return make, tuple(code.co_filename if part == "<dynamic-code>" else part for part in parts)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Cloudpickle's, with the names of the files that code came from, for tracebacks: since its version 3.1.3 it leaves them out."""

    dispatch_table: ClassVar[Any] = ChainMap({CodeType: _with_filename}, _TABLE)


def _pickled(value: Any, buffer_callback: Any = None) -> bytes:
    file = io.BytesIO()
    pickler: Any = _Pickler(file, protocol=5, buffer_callback=buffer_callback)
    pickler.dump(value)
    return file.getvalue()


def dumps(value: Any, what: str) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle a value, with its large contiguous buffers left out and returned beside it.

    Small buffers stay in the pickle, so small arrays arrive writable. Raises `PayloadError`,
    naming ``what``, if the value cannot be pickled.
    """
    large: list[pickle.PickleBuffer] = []
    if type(value) in _PLAIN:
        return pickle.dumps(value, 5), large

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            small = buffer.raw().nbytes < LARGE_BUFFER_BYTES
        except BufferError:  # not contiguous: only pickle itself knows how to write it
            return True
        if not small:
            large.append(buffer)
        return small

    try:
        data = _pickled(value, keep_in_band)
    except Exception as error:
        raise PayloadError(f"{what} cannot be pickled: {exception_text(error)}") from error
    return data, large


def dumps_call(function: Any, args: tuple[Any, ...], kwargs: Any, what: str) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle a call, as `dumps` does, so that it loads as (function or None, args, kwargs)."""
    if function is None and not kwargs and all(type(arg) in _PLAIN for arg in args):
        return pickle.dumps((None, args, {}), 5), []
    return dumps((function, args, dict(kwargs)), what)


def loads(data: bytes, buffers: Iterable[Any] = ()) -> Any:
    """Rebuild a value from its pickle and the buffers that were left out of it, in order."""
    return pickle.loads(data, buffers=buffers)


def dumps_whole(value: Any, what: str) -> bytes:
    """Pickle a value with its buffers inside. Raises `PayloadError`, naming ``what``."""
    try:
        data = _pickled(value)
    except Exception as error:
        raise PayloadError(f"{what} cannot be pickled: {exception_text(error)}") from error
    return data
