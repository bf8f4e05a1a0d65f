"""What holds for all tests: their order, and which of them run beside others."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__)
CLUSTER = HERE.parent / "cluster"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Demanding tests come first: of several processes, which share the tests out in order, the first has them all, one after the other."""
    for item in items:
        if CLUSTER in item.path.parents:
            item.add_marker("cluster")
    items.sort(key=lambda item: item.get_closest_marker("demanding") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # first: who waits here is not out of time
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A demanding test has no other one, and none that needs a cluster, beside it in another process."""
    demanding = item.get_closest_marker("demanding") is not None
    if not demanding and item.get_closest_marker("cluster") is None:
        return (yield)
    with contextlib.ExitStack() as stack:
        with _locked(HERE.parent, fcntl.LOCK_EX):  # in order of arrival, or those who share would keep out those who do not
            stack.enter_context(_locked(HERE, fcntl.LOCK_EX if demanding else fcntl.LOCK_SH))
        return (yield)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
