"""A pickle, read without running anything that it names.

In place of every class, function and instance stands a `StandIn` of the same name. The unpickler is the one written in
Python: its memory grows with the pickle, not with a number that the pickle names.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast


def load(data: bytes) -> Any:
    """What a pickle holds: plain values as they are, everything else as stand-ins. Raises whatever a damaged pickle leads to."""
    unpickler: Any = _InertUnpickler(io.BytesIO(data), buffers=itertools.repeat(b""))
    return unpickler.load()


class StandInType(type):
    """Makes stand-ins that are classes, since pickles make instances of them."""

    def __call__(cls, *args: object, **__: object) -> Any:
        if cls.__name__.endswith("._make_skeleton_class") and len(args) > 1 and isinstance(args[1], str):
            return StandInType(args[1], (StandIn,), {})  # a class that cloudpickle sent whole, such as one from a notebook
        made: Any = object
        return made.__new__(cls)


class StandIn(metaclass=StandInType):
    """Takes whatever a pickle does to an object, and does nothing with it."""

    def __new__(cls, *_: object, **__: object) -> StandIn:
        made: Any = object
        kind: Any = cls  # a pickle may name an instance where a class should stand
        return made.__new__(kind if isinstance(kind, type) else type(kind))

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> StandIn:
        return self

    def append(self, item: object) -> None:
        pass

    def extend(self, items: Iterable[object]) -> None:
        pass

    def add(self, item: object) -> None:
        pass


_Step = Callable[[Any], None]
_PythonUnpickler: Any = pickle._Unpickler  # pyright: ignore
_STEPS = cast("dict[int, _Step]", _PythonUnpickler.dispatch)
_NESTING = frozenset({tuple, frozenset})


def _checked(code: bytes, keys: slice) -> tuple[int, _Step]:
    """A step that hashes what is on the stack, but not tuples of tuples: a short pickle can hold one that takes for ever."""
    step = _STEPS[code[0]]

    def run(unpickler: Any) -> None:
        for key in unpickler.stack[keys]:
            if type(key) in _NESTING and any(type(part) in _NESTING for part in key):
                raise pickle.UnpicklingError("a key that is nested")
        step(unpickler)

    return code[0], run


class _InertUnpickler(_PythonUnpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, _Step]] = _STEPS | dict([
        _checked(pickle.SETITEM, slice(-2, -1)),
        _checked(pickle.SETITEMS, slice(None, None, 2)),
        _checked(pickle.DICT, slice(None, None, 2)),
        _checked(pickle.ADDITEMS, slice(None)),
        _checked(pickle.FROZENSET, slice(None)),
    ])

    def find_class(self, module: str, name: str) -> Any:
        return StandInType(f"{module}.{name}", (StandIn,), {})

    def persistent_load(self, pid: object) -> Any:
        return object.__new__(StandIn)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("an extension code")
