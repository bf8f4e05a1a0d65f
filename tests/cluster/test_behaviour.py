"""The common suite, on Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import honeydew_ray as honeydew
from tests.behaviour import Behaviour, Clerk, Start


@pytest.fixture(scope="module")
def shared_clerks(ray_cluster: None) -> Iterator[honeydew.Queue]:
    queue = honeydew.start_queue("behaviour", failure_mode=honeydew.Retry(times=1))
    queue.start_workers(Clerk, num=1)
    yield queue
    queue.stop()


class TestOnRay(Behaviour):
    @pytest.fixture
    def start(self, new_queue: Callable[..., honeydew.Queue]) -> Start:
        return new_queue

    @pytest.fixture
    def clerks(self, shared_clerks: honeydew.Queue) -> honeydew.Queue:
        return shared_clerks
