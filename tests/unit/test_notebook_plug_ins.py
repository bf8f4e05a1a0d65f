"""The plug-ins that a notebook writes pass the suites that it recommends."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat

import honeydew_ray as honeydew
from honeydew_ray.testing import DispatcherContract, FailureModeContract, StoreContract

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "plug_ins.ipynb"


def classes() -> dict[str, Any]:
    """The classes of the notebook that are plug-ins; a cell that defines one does nothing else."""
    found: dict[str, Any] = {"honeydew": honeydew}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        statements = ast.parse(cell.source).body
        if statements and all(isinstance(statement, ast.ClassDef) and statement.bases for statement in statements):
            exec(compile(cell.source, str(NOTEBOOK), "exec"), found)
    return found


FOUND = classes()


class TestPatient(FailureModeContract):
    def make_mode(self) -> honeydew.FailureMode:
        return FOUND["Patient"](times=3, elsewhere="unreachable")


class TestWarm(DispatcherContract):
    def make_dispatcher(self) -> honeydew.Dispatcher:
        return FOUND["Warm"]()


class TestBounded(StoreContract):
    def make_store(self, directory: Path) -> honeydew.Store:
        return FOUND["Bounded"](most=10_000)
