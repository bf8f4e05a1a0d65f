"""The common suite, inline."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

import honeydew_ray as honeydew
from honeydew_ray.testing import Inline
from tests.behaviour import Behaviour, Clerk, Start


class TestInline(Behaviour):
    @pytest.fixture
    def inline(self) -> Iterator[Inline]:
        with Inline() as inline:
            yield inline

    @pytest.fixture
    def start(self, inline: Inline) -> Start:
        numbers = count(1)

        def start(name: str | None = None, **options: Any) -> honeydew.Queue:
            return inline.start_queue(name or f"queue-{next(numbers)}", **options)

        return start

    @pytest.fixture
    def clerks(self, start: Start) -> honeydew.Queue:
        queue = start(failure_mode=honeydew.Retry(times=1))
        queue.start_workers(Clerk)
        return queue
