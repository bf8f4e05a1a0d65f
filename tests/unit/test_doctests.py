"""The examples in docstrings are true; those that need a cluster are run in tests/cluster/test_doctests.py."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import honeydew_ray

ON_A_CLUSTER = {"honeydew_ray.queue", "honeydew_ray.submitter", "honeydew_ray.job_handle", "honeydew_ray.worker_groups"}
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(honeydew_ray.__path__, "honeydew_ray.")
    if module.name not in ON_A_CLUSTER and not module.name.startswith(("honeydew_ray.actors", "honeydew_ray.testing", "honeydew_ray.demo"))
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    found = sum(bool(test.examples) for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name)))
    assert found >= 8
