"""One Ray for all cluster tests; each test's queues end with it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster
from tests.cluster.scripts import FAIR_SHARE
from tests.cluster.signals import Signal

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray with room for all the workers of a test."""
    connect()
    yield
    cluster.disconnect()


def connect() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*FAIR_SHARE)
        cluster.connect("local", num_cpus=16, include_dashboard=False, log_to_driver=False)


@pytest.fixture
def new_queue(ray_cluster: None) -> Iterator[Callable[..., honeydew.Queue]]:
    """Starts queues under names of their own, and stops them after the test."""
    started: list[honeydew.Queue] = []

    def start(name: str | None = None, **options: Any) -> honeydew.Queue:
        queue = honeydew.start_queue(name or f"queue-{next(_NUMBERS)}", **options)
        started.append(queue)
        return queue

    yield start
    for queue in started:
        for group in {worker.group for worker in _workers_of(queue)}:
            with contextlib.suppress(honeydew.WorkersNotFound):
                honeydew.stop_workers(queue.name, group)
        with contextlib.suppress(honeydew.QueueNotFound, honeydew.StoreError):  # tests break stores on purpose
            queue.stop()


def _workers_of(queue: honeydew.Queue) -> list[honeydew.WorkerStatus]:
    try:
        return queue.status().workers
    except (honeydew.QueueNotFound, honeydew.StoreError):
        return []


@pytest.fixture
def new_signal(tmp_path: Path) -> Callable[[], Signal]:
    """Makes signals between the test and its jobs."""
    return lambda: Signal.make(tmp_path, f"signal-{next(_NUMBERS)}")
