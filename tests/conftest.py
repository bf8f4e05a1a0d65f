"""The order of the tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Demanding tests come first: of several processes, which share the tests out in order, the first has them all, one after the other."""
    items.sort(key=lambda item: item.get_closest_marker("demanding") is None)
