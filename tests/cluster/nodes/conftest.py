"""One cluster of several nodes for all tests here; the single node of the other tests is left meanwhile."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest
import ray

import honeydew_ray as honeydew
from tests.cluster import conftest
from tests.cluster.machines import Machines, machines

NAMES = itertools.count(1)
HEAD = {"resources": {"head": 0.001}}
Start = Callable[..., honeydew.Queue]


@pytest.fixture(scope="package")
def cluster() -> Iterator[Machines]:
    """Three nodes: the head, and one each in the zones a and b, which every test finds there and free."""
    connected = ray.is_initialized()  # to the one node of other tests, which is left for a while
    ray.shutdown()
    with machines() as made:
        made.zones = {zone: made.add(zone) for zone in "ab"}
        yield made
    if connected:
        conftest.connect()


@pytest.fixture
def nodes(cluster: Machines) -> Iterator[Machines]:
    """The three nodes; those that a test adds are taken away, those it loses put back."""
    yield cluster
    cluster.keep(*cluster.zones.values())
    for zone, node in cluster.zones.items():
        if node not in cluster.alive():
            cluster.zones[zone] = cluster.add(zone)


@pytest.fixture
def start(nodes: Machines) -> Iterator[Start]:
    """Starts queues, on the head node unless said otherwise, and stops them after the test."""
    started: list[honeydew.Queue] = []

    def start_queue(**options: object) -> honeydew.Queue:
        queue = honeydew.start_queue(f"nodes-{next(NAMES)}", **{"ray_options": HEAD, **options})
        started.append(queue)
        return queue

    yield start_queue
    for queue in started:
        with contextlib.suppress(honeydew.QueueNotFound, honeydew.StoreError):
            queue.stop()
