"""Fixtures for the tests of those who use the queue; pytest finds them by itself once ``honeydew-ray`` is installed.

``honeydew_inline``
    An `Inline` that stands in for the module: for the length of the test ``honeydew_ray.start_queue``, ``get_queue``,
    ``start_workers``, ``stop_workers``, ``queues`` and ``workers`` are its own, so that the code under test needs no Ray.
``inline_queue``
    A queue of it, called ``inline``, with no workers yet.
``honeydew_ray_cluster``
    For the few tests that want the real thing: this process is connected to a Ray of its own for the session, with 4 CPUs.

A test of one's own::

    def test_photos_are_classified(inline_queue):
        inline_queue.start_workers(Classifier, "weights")
        assert inline_queue.submit("classify", "cat.jpg").result() == "cat"
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from honeydew_ray.testing.inline import Inline
    from honeydew_ray.testing.inline_queue import InlineQueue

_STANDS_IN_FOR = ("start_queue", "get_queue", "queues", "start_workers", "stop_workers", "workers")


@pytest.fixture
def honeydew_inline(monkeypatch: pytest.MonkeyPatch) -> Generator[Inline]:
    """Stands in for the module ``honeydew_ray``: see `Inline`."""
    import honeydew_ray
    from honeydew_ray.testing.inline import Inline

    with Inline() as inline:
        for name in _STANDS_IN_FOR:
            original = getattr(honeydew_ray, name)
            for module in [module for module in list(sys.modules.values()) if getattr(module, "__dict__", {}).get(name) is original]:
                if not module.__name__.startswith("honeydew_ray."):
                    monkeypatch.setattr(module, name, getattr(inline, name))  # wherever it was imported to under this name
        yield inline


@pytest.fixture
def inline_queue(honeydew_inline: Inline) -> InlineQueue:
    """An inline queue without workers."""
    return honeydew_inline.start_queue("inline")


@pytest.fixture(scope="session")
def honeydew_ray_cluster() -> Generator[None]:
    """A local Ray for the session, unless the process is connected to one."""
    from honeydew_ray.actors import cluster

    started = cluster.connect("local", num_cpus=4, include_dashboard=False)
    yield
    if started:
        cluster.disconnect()
