"""A bar that fills as jobs end: HTML in a notebook, one line that is written again on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from honeydew_ray import display

T = TypeVar("T")

_REDRAW_S = 0.1
_LINE_S = 5.0
_WIDTH = 24


class ProgressBar:
    """Shows how many of ``total`` jobs are done and how many failed; ``total=None``: nobody knows how many there will be."""

    def __init__(self, label: str, total: int | None) -> None:
        self.done = self.failed = 0
        self._label = label
        self._total = total
        self._began = time.monotonic()
        self._drawn = -1.0
        self._handle: Any = None
        self._in_notebook = _in_notebook()

    def __enter__(self) -> ProgressBar:
        self._began = time.monotonic()
        self._draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._draw()
        if not self._in_notebook and sys.stderr.isatty():
            print(file=sys.stderr)

    def ended(self, well: bool) -> None:
        """One more job has ended."""
        self.done += well
        self.failed += not well
        self.refresh()

    def refresh(self) -> None:
        """Show how it stands, unless that was done just now."""
        often = self._in_notebook or sys.stderr.isatty()
        if time.monotonic() - self._drawn >= (_REDRAW_S if often else _LINE_S):
            self._draw()

    @property
    def text(self) -> str:
        """How it stands, as words."""
        ended, passed_s = self.done + self.failed, max(time.monotonic() - self._began, 1e-6)
        rate = ended / passed_s
        words = f"{ended:,}" + ("" if self._total is None else f"/{self._total:,}") + " jobs"
        words += f", {self.failed:,} failed" if self.failed else ""
        words += f", {rate:,.1f} jobs/s, {passed_s:,.1f} s"
        left = 0 if self._total is None else self._total - ended
        return words + (f", {left / rate:,.0f} s to go" if left > 0 and ended else "")

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._in_notebook:
            bar = display.bar(self.done, self.failed, self._total)
            self._show(_Drawn(display.join([f"{self._label} ", bar, f" {self.text}"]).html, f"{self._label} {self.text}"))
            return
        share = 0.0 if not self._total else min((self.done + self.failed) / self._total, 1.0)
        line = f"{self._label} [{'#' * round(share * _WIDTH):<{_WIDTH}}] {self.text}"
        print(f"\r{line}\x1b[K" if sys.stderr.isatty() else line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    def _show(self, shown: _Drawn) -> None:
        if self._handle is None:
            notebook: Any = importlib.import_module("IPython.display")
            self._handle = notebook.display(shown, display_id=True)
        else:
            self._handle.update(shown)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The bar of a moment, for a front end that shows HTML and for one that does not."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def with_bar(label: str, results: Iterable[T], total: int | None) -> Iterator[T]:
    """The results as they come, with a bar beside them; one that raises ends it."""
    with ProgressBar(label, total) as bar:
        for result in results:
            bar.ended(well=True)
            yield result


def _in_notebook() -> bool:
    """Whether what is displayed here is shown as HTML, by a Jupyter kernel's front end."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
