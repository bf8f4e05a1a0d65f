"""What the demo shows: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from honeydew_ray.demo.account import PackageTotals

_PLAIN_WIDTH = 120


class Screen:
    """Shows how far the work is, in between what there is to say about it."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.console = console or _console()
        self.total = total
        self._began = time.monotonic()
        self._tenths = 0
        doing = TextColumn("{task.fields[doing]}", style="dim", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
        self._bar = Progress(
            BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[rate]} files/s"), TimeElapsedColumn(), doing,
            console=self.console, disable=not self.console.is_terminal, expand=True, redirect_stdout=False, redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=total, rate="-", doing="")

    def __enter__(self) -> Screen:
        self._began = time.monotonic()
        self._bar.reset(self._task)
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line, which stays."""
        self._bar.console.print(text, markup=False, soft_wrap=True)

    def advanced(self, done: int, doing: Sequence[str]) -> None:
        """So many files are done; the workers are at these."""
        rate = done / max(time.monotonic() - self._began, 1e-6)
        self._bar.update(self._task, completed=done, rate=f"{rate:.0f}", doing=", ".join(doing))
        tenths = 10 * done // max(self.total, 1)
        if not self.console.is_terminal and tenths > self._tenths:
            self._tenths = tenths
            self.say(f"  {done:>5} of {self.total} files, {rate:.0f} files/s")

    def show(self, rows: Sequence[PackageTotals], total: PackageTotals, title: str) -> None:
        """The table of packages, with the sum of all below."""
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_footer=True)
        table.add_column("package", total.package)
        for name in ("files", "lines", "functions", "complexity"):
            table.add_column(name, f"{getattr(total, name):,}", justify="right")
        table.add_column("hardest function", _hardest(total), no_wrap=True)
        for row in rows:
            counts = (row.files, row.lines, row.functions, row.complexity)
            table.add_row(row.package, *(f"{count:,}" for count in counts), _hardest(row))
        self.console.print(table)


def _hardest(totals: PackageTotals) -> str:
    return f"{totals.hardest_complexity:>3} {totals.hardest}" if totals.hardest else ""


def _console() -> Console:
    """Standard output as it is now; wide enough for the table if it is no terminal."""
    console = Console(file=sys.stdout, highlight=False)
    return console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=_PLAIN_WIDTH)
