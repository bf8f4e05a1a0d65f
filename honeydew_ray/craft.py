"""What a worker does with the user's class and functions, wherever it lives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from honeydew_ray import payload
from honeydew_ray.errors import PayloadError
from honeydew_ray.failure import Failure, exception_text


def make_state(state: bytes | None) -> Any:
    """The worker's state, made anew from the pickled (class, args, kwargs); None without a class. Raises what ``__init__`` raises."""
    if state is None:
        return None
    make, args, kwargs = payload.loads(state)
    return make(*args, **kwargs)


def retry_after(state: bytes | None, error: BaseException) -> float | None:
    """In how many seconds the class's ``init_failed`` wants another try; None if it does not say."""
    try:
        make, _, _ = payload.loads(state or b"")
        hook: Callable[[Any, BaseException], Any] | None = getattr(make, "init_failed", None)
        asked = None if hook is None else make.init_failed(error)
        return None if asked is None else max(float(asked), 0.0)
    except BaseException as fault:  # the class could not be loaded, or its hook raised
        print(f"init_failed could not be asked: {exception_text(fault)}", file=sys.stderr)
        return None


def method_of(state: Any, has_class: bool, name: str) -> Callable[..., Any]:
    """The method that a job names. Raises ``AttributeError``."""
    if not has_class:
        raise AttributeError(f"this worker was started without a class, so it has no method {name!r}; it runs plain functions")
    return getattr(state, name)


def failure_of(error: BaseException) -> Failure:
    """What an exception that a job raised is recorded as, with the exception itself if it can be rebuilt elsewhere."""
    if isinstance(error, PayloadError) and error.__cause__ is not None:
        return Failure.from_exception(error)  # the result's fault: there is no exception of the job to rebuild
    try:
        pickled, _ = payload.dumps(error, "the exception")
        payload.loads(pickled)  # one that cannot be rebuilt must not be sent
    except BaseException:  # __reduce__ and __init__ are user code
        pickled = None
    return Failure.from_exception(error, pickled)
