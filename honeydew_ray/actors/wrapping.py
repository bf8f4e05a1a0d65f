"""Ray's wrappers of our classes and functions, made once for each process that uses them.

Ray takes apart whatever a new wrapper holds, which takes tens of milliseconds of a processor for a
class, and its head node keeps a copy for as long as the cluster lives.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import ray

_making = threading.Lock()


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    """As `functools.cache`, for threads that ask at the same moment, too: they would make one each."""
    known = functools.cache(make)

    @functools.wraps(make)
    def made(*args: Any) -> Any:
        with _making:
            return known(*args)

    return made


@_once
def wrapped(definition: Any) -> Any:
    """A class as Ray makes actors of it, or a function as Ray runs it elsewhere."""
    return ray.remote(definition)


@_once
def wrapped_with_control(definition: Any, threads: int) -> Any:
    """A class as Ray makes actors of it that answer calls to their ``control`` group in so many threads of its own."""
    remote: Any = ray.remote  # its types do not know concurrency groups
    return remote(concurrency_groups={"control": threads})(definition)
