"""The three ways to say what a job shall do: a method's name, a method, a function."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from honeydew_ray.arguments import refuse_type


@dataclass(frozen=True, slots=True)
class Task:
    """What a job shall do: call the method ``name`` of the worker's state, or ``function``."""

    name: str
    function: Callable[..., Any] | None = None


def task_of(given: object) -> Task:
    """The task that a caller of ``submit`` means.

    A string is a method's name. So is a function that stands in a class body as a plain method
    (``Classifier.classify``). Anything else that can be called is called as it is.
    """
    if isinstance(given, str):
        return Task(given)
    if not callable(given):
        expected = "a method's name, a method of the worker class, or a function"
        raise refuse_type("submit", "task", given, expected, 'submit("classify", photo)')
    if isinstance(given, FunctionType) and _is_method(given):
        return Task(given.__name__)
    return Task(_label(given), given)


def _is_method(function: FunctionType) -> bool:
    owner_path, _, name = function.__qualname__.rpartition(".")
    if not owner_path or owner_path.endswith("<locals>"):
        return False
    owner: Any = sys.modules.get(function.__module__)
    for part in owner_path.split("."):
        owner = getattr(owner, part, None)
    if isinstance(owner, type):
        return not isinstance(inspect.getattr_static(owner, name, None), staticmethod)
    return True  # of a class inside a function, which cannot be looked up; a static method there is not told apart


def _label(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return name if module in (None, "builtins", "__main__") else f"{module}.{name}"
