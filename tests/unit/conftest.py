"""Unit tests decide without Ray."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting Ray here is a mistake: no code outside ``honeydew_ray.actors`` may need it.

    If Ray is not imported yet, importing it would be the slowest thing in the run, so a stand-in
    takes its place, of which only ``init`` exists.
    """
    ray = sys.modules.get("ray")
    if ray is None:
        ray = ModuleType("ray")
        monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray, "init", _refuse, raising=False)


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("ray.init() was called in a test without Ray: move the test to tests/cluster/")
