"""What holds for all tests: their order, and what Ray's workers may have of the processors."""

from __future__ import annotations

import os

import pytest

# Ray's own choice, niceness 15, leaves its workers a thirtieth of a processor beside one busy program; two of these tests run at a time,
# and some are such programs for minutes.
os.environ["RAY_worker_niceness"] = "0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Demanding tests come first: of several processes, which share the tests out in order, the first has them all, one after the other."""
    items.sort(key=lambda item: item.get_closest_marker("demanding") is None)
