"""Run the notebooks from top to bottom, each in a clean kernel, and write their outputs into them.

    python notebooks/refresh.py [NAME ...]

What Ray and Python say on the side (standard error of the kernel itself) is left out.
"""

from __future__ import annotations

import os
import re
import site
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
_PLACES = [(f"{site}/", "") for site in site.getsitepackages()] + [(f"{HERE.parent}/", ""), (str(Path.home()), "~")]
_RAYS_OWN = re.compile(r"\(raylet\)")
_OF_INTEREST = re.compile(r"\((?:Worker|Queue)Actor pid=\d+\)(?!.*(?:\*\*\*|@ |PC: |logging\.cc))")  # not the frames of a crash


def run(path: Path, timeout_s: int = 120) -> Any:
    """The notebook with its outputs; raises ``CellExecutionError`` at the first cell that fails."""
    book: Any = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=timeout_s, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    return book


def clean(book: Any) -> None:
    """Keep what a reader wants to see: no side talk, no times, no state of widgets."""
    book.metadata.pop("widgets", None)
    book.metadata["language_info"] = {"name": "python"}
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [without_places(kept) for kept in map(without_side_talk, cell.outputs) if kept is not None]
            for output in cell.outputs:
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def without_places(value: Any) -> Any:
    """Outputs without the paths of the machine that made them."""
    if isinstance(value, str):
        for place, shown in _PLACES:
            value = value.replace(place, shown)
        return value
    if isinstance(value, dict):
        return type(value)({key: without_places(item) for key, item in value.items()})
    return [without_places(item) for item in value] if isinstance(value, list) else value


def without_side_talk(output: Any) -> Any:
    """An output with what the cell itself, a job or a queue wrote; None if there is nothing of the kind."""
    if output.output_type != "stream":
        return output
    lines = output.text.splitlines(keepends=True)
    if output.name == "stdout":
        output.text = "".join(line for line in lines if not _RAYS_OWN.search(line))
    else:
        output.text = "".join(line for line in lines if _OF_INTEREST.search(line))
    return output if output.text else None


def main() -> None:
    os.environ.setdefault("RAY_ADDRESS", "local")
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.ipynb"))
    for name in names:
        path = HERE / f"{name}.ipynb"
        book = run(path)
        clean(book)
        nbformat.write(book, path)
        print(f"{path.name}: {len(book.cells)} cells")


if __name__ == "__main__":
    main()
