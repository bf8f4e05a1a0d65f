"""The arguments of `start_workers` that say how workers behave, wherever they live, looked at before anything is started."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from honeydew_ray import payload
from honeydew_ray.actors.runner import has_async_methods
from honeydew_ray.arguments import expect_count, expect_seconds, refuse, refuse_type


@dataclass(frozen=True, slots=True)
class Conduct:
    """How the workers of a group behave. Times are seconds."""

    state: bytes | None  # the pickled (class, args, kwargs); None: no state, plain functions only
    class_name: str | None
    methods: frozenset[str] | None  # the names that a job may call; None: any
    rebuild: Literal["always", "never"]
    prefetch: bool
    concurrency: int
    on_loop: bool  # the user's code runs on an event loop
    init_retry_s: float
    init_timeout_s: float
    shutdown_s: float
    probe_timeout_s: float


def conduct_of(cls: type[Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, rebuild: Literal["always", "never"] | None,
               prefetch: Literal[1, "auto"], concurrency: int, init_retry_s: float, init_timeout_s: float, shutdown_s: float,
               probe_timeout_s: float) -> Conduct:
    """What the arguments mean. Raises ``ValueError`` and ``TypeError``; `PayloadError` if the class or its arguments cannot be pickled."""
    _expect_class(cls, args, kwargs)
    if rebuild not in ("always", "never", None):
        raise refuse("start_workers", "rebuild", rebuild, '"always" or "never"', 'rebuild="never"')
    if prefetch not in (1, "auto"):
        raise refuse("start_workers", "prefetch", prefetch, '1 or "auto"', 'prefetch="auto"')
    expect_count("start_workers", "concurrency", concurrency, least=1)
    if prefetch == "auto" and concurrency > 1:
        expected = "1 with a concurrency above 1, as jobs that run at once are sent one by one"
        raise refuse("start_workers", "prefetch", prefetch, expected, "concurrency=1")
    return Conduct(
        state=None if cls is None else payload.dumps_whole((cls, args, dict(kwargs)), f"the worker class {cls.__name__} or its arguments"),
        class_name=None if cls is None else cls.__qualname__,
        methods=_methods_of(cls),
        rebuild=rebuild or ("always" if concurrency == 1 else "never"),
        prefetch=prefetch == "auto",
        concurrency=concurrency,
        on_loop=concurrency > 1 or has_async_methods(cls),
        init_retry_s=expect_seconds("start_workers", "init_retry_s", init_retry_s),
        init_timeout_s=expect_seconds("start_workers", "init_timeout_s", init_timeout_s, positive=True),
        shutdown_s=expect_seconds("start_workers", "shutdown_s", shutdown_s),
        probe_timeout_s=expect_seconds("start_workers", "probe_timeout_s", probe_timeout_s, positive=True),
    )


def _expect_class(cls: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if cls is None:
        if args or kwargs:
            raise TypeError(f"start_workers: arguments {args or kwargs!r} were given, but no class to give them to")
        return
    if not isinstance(cls, type):
        expected = "a class (not an instance: each worker makes its own)"
        raise refuse_type("start_workers", "cls", cls, expected, "start_workers(Classifier, weights)")
    try:
        signature = inspect.signature(cls)
    except ValueError:  # some classes written in C do not tell
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"start_workers: the arguments do not fit {cls.__qualname__}{signature}: {error}") from None


def _methods_of(cls: type[Any] | None) -> frozenset[str] | None:
    if cls is None:
        return frozenset()
    if hasattr(cls, "__getattr__"):
        return None  # it may answer to any name
    return frozenset(name for name in dir(cls) if callable(getattr(cls, name, None)))
