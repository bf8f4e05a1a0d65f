"""What the README and docs/ show is there: links lead somewhere, snippets are Python and name what exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import honeydew_ray as honeydew
from honeydew_ray.job_handle import Job
from honeydew_ray.queue import Queue
from honeydew_ray.testing import Inline

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
HANDLES = {"honeydew": honeydew, "photos": Queue, "greetings": Queue, "classify": Queue, "queue": Queue, "job": Job}


def names_of(page: Path) -> set[tuple[str, str]]:
    """What follows the name of a handle and a dot in a snippet, or in inline code."""
    text = page.read_text()
    code = [*SNIPPET.findall(text), *re.findall(r"`([^`\n]+)`", text)]
    return {(handle, name) for part in code for handle, name in re.findall(r"(?<![\w\"./])(\w+)\.(\w+)", part) if handle in HANDLES}


def test_there_are_pages() -> None:
    assert len(PAGES) >= 8
    assert all(f"docs/{page.name}" in PAGES[0].read_text() for page in PAGES[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_are_python_and_name_what_exists(page: Path) -> None:
    for snippet in SNIPPET.findall(page.read_text()):
        compile(snippet, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    missing = [f"{handle}.{name}" for handle, name in names_of(page) if not hasattr(HANDLES[handle], name)]
    assert missing == []


def test_names_are_found() -> None:
    assert {("honeydew", "start_queue"), ("photos", "submit_many"), ("job", "result")} <= names_of(PAGES[0])


def test_the_snippet_of_testing_is_a_test_that_passes() -> None:
    class Classifier:
        def __init__(self, weights: str) -> None:
            self.weights = weights

        def classify(self, photo: str) -> str:
            return photo.removesuffix(".jpg")

    [snippet] = SNIPPET.findall((ROOT / "docs" / "testing.md").read_text())
    names: dict[str, Any] = {"Classifier": Classifier}
    exec(snippet, names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    with Inline() as world:
        test(world.start_queue("photos"))
