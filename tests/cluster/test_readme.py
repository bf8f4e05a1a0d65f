"""The README's first example runs as printed."""

import re
from pathlib import Path

import pytest

from tests.cluster.scripts import ROOT, run_script

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def first_example(text: str) -> tuple[str, str | None]:
    """The first Python block, and the text block that follows before any other block, if one does: what it prints."""
    blocks = BLOCK.findall(text)
    place = next(n for n, (language, _) in enumerate(blocks) if language == "python")
    following = blocks[place + 1 : place + 2]
    prints = following[0][1] if following and following[0][0] == "text" else None
    return blocks[place][1], prints


def test_the_first_example_of_the_readme_runs_as_printed(tmp_path: Path) -> None:
    code, prints = first_example((ROOT / "README.md").read_text())
    script = tmp_path / "example.py"
    script.write_text(code)
    finished = run_script(script, cwd=tmp_path)
    assert finished.code == 0, str(finished)
    assert "Using blocking ray.get" not in finished.errors
    if prints is not None:
        assert finished.output == prints


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```console\nmake\n```\n```python\na\n```\nprints\n```text\nb\n```\n", ("a\n", "b\n")),
        ("```python\na\n```\n```python\nc\n```\n```text\nb\n```\n", ("a\n", None)),
        ("```python\na\n```\n", ("a\n", None)),
    ],
)
def test_the_example_is_found_by_its_fences(text: str, found: tuple[str, str | None]) -> None:
    assert first_example(text) == found
