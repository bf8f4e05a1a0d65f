"""Checks of arguments, which fail where the argument is written and show what was expected."""

from __future__ import annotations

import math
import re
from reprlib import Repr

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 250


def refuse(where: str, what: str, given: object, expected: str, example: str) -> ValueError:
    """The error for a bad value: what was given, what was expected, an example."""
    return ValueError(f"{where}: {what} was {_SHORT.repr(given)}, expected {expected}; for example {example}")


def refuse_type(where: str, what: str, given: object, expected: str, example: str) -> TypeError:
    """The error for a value of the wrong type."""
    return TypeError(f"{where}: {what} was {_SHORT.repr(given)} ({type(given).__name__}), expected {expected}; for example {example}")


def expect_name(where: str, what: str, value: object) -> str:
    """A queue's or a group's name: 1 to 200 letters, digits, ``_``, ``.`` or ``-``, as a string."""
    if not isinstance(value, str):
        raise refuse_type(where, what, value, "a string", f'{what}="photos"')
    if not _NAME.fullmatch(value):
        raise refuse(where, what, value, "1 to 200 letters, digits, '_', '.' or '-', not starting with '.' or '-'", f'{what}="photos"')
    return value


def expect_flag(where: str, what: str, value: object) -> bool:
    """True or False, and nothing that passes for one."""
    if not isinstance(value, bool):
        raise refuse(where, what, value, "True or False", f"{what}=True")
    return value


def expect_seconds(where: str, what: str, value: object, *, positive: bool = False) -> float:
    """A finite number of seconds, 0 or more (more than 0 if ``positive``)."""
    expected = "a number of seconds greater than 0" if positive else "a number of seconds, 0 or more"
    return _expect_real(where, what, value, expected, 0.0, exclusive=positive, example=f"{what}=5")


def expect_at_least(where: str, what: str, value: object, least: float) -> float:
    """A finite number, ``least`` or more."""
    return _expect_real(where, what, value, f"a number, {least:g} or more", least, exclusive=False, example=f"{what}={least:g}")


def expect_count(where: str, what: str, value: object, *, least: int = 0) -> int:
    """A whole number, ``least`` or more."""
    expected, example = f"a whole number, {least} or more", f"{what}={max(least, 3)}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse_type(where, what, value, expected, example)
    if value < least:
        raise refuse(where, what, value, expected, example)
    return value


def _expect_real(where: str, what: str, value: object, expected: str, least: float, *, exclusive: bool, example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse_type(where, what, value, expected, example)
    if not math.isfinite(value) or value < least or (exclusive and value == least):
        raise refuse(where, what, value, expected, example)
    return float(value)
