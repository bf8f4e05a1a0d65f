"""The demo's parts that need no Ray: finding files, measuring one, adding up, accidents, the screen."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from honeydew_ray import cli
from honeydew_ray.demo.accidents import Accidents
from honeydew_ray.demo.account import Account, by_package, totals
from honeydew_ray.demo.course import Course
from honeydew_ray.demo.library import python_files, standard_library
from honeydew_ray.demo.measures import Measures, count_lines, measure
from honeydew_ray.demo.screen import Screen
from honeydew_ray.failure import Failure
from honeydew_ray.status import QueueStatus

SOURCE = b'''
class Gate:
    async def open(self, keys, force=False):
        for key in keys:
            if key.fits and not key.broken or force:
                return key
        return [k for k in keys if k.spare if k.new]


def outer():
    def inner(x):
        return 1 if x else 2
    try:
        return inner(0)
    except ValueError:
        raise
'''


def test_files_are_found_below_the_root_sorted_and_without_installed_packages(tmp_path: Path) -> None:
    for name in ("b.py", "a/z.py", "a/y.txt", "site-packages/p.py", "dist-packages/q.py", "a/__pycache__/z.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert python_files(tmp_path) == ["a/z.py", "b.py"]


def test_the_standard_library_is_found() -> None:
    files = python_files(standard_library())
    assert {"argparse.py", "asyncio/events.py", "json/decoder.py"} <= set(files)
    assert not any("site-packages" in file for file in files)


def test_a_source_is_measured() -> None:
    assert measure("gates/gate.py", SOURCE, process=7) == Measures(
        "gates/gate.py", lines=16, parsed=True, functions=3, classes=1,
        complexity=8 + 2 + 2, hardest="open", hardest_complexity=8, process=7,
    )


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("while a: pass", 2),
        ("with a: pass", 1),
        ("assert a", 2),
        ("return a and b and c", 3),
        ("lambda: 1 if a else 2", 2),
        ("def inner():\n  if a: pass", 1),
        ("class Inner:\n  if a: pass", 1),
        ("match a:\n  case 1: pass\n  case _: pass", 3),
    ],
)
def test_each_fork_of_a_function_counts_one(body: str, complexity: int) -> None:
    source = "def outer():\n" + "".join(f" {line}\n" for line in body.splitlines())
    functions = measure("f.py", source.encode()).complexity
    assert functions - (2 if "def inner" in body else 0) == complexity


def test_an_empty_file_has_nothing_in_it() -> None:
    assert measure("e.py", b"") == Measures("e.py", 0, parsed=True)


@pytest.mark.parametrize("source", [b"print 'hello'", b"# -*- coding: no-such-coding -*-", b"a = '\x00'"])
def test_what_is_not_python_is_a_syntax_error(source: bytes) -> None:
    with pytest.raises(SyntaxError):
        measure("bad.py", source)


def test_odd_escapes_in_other_peoples_code_raise_no_warning() -> None:
    assert measure("w.py", b"a = '\\d'").parsed


@pytest.mark.parametrize(("source", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\r\nb", 2), (b"\n\n", 2)])
def test_lines_are_counted_with_or_without_a_last_line_feed(source: bytes, lines: int) -> None:
    assert count_lines(source) == lines


def test_a_module_that_stands_alone_is_its_own_package() -> None:
    assert Measures("argparse.py", 1).package == "argparse"
    assert Measures("xml/dom/minidom.py", 1).package == "xml"


def test_packages_are_added_up_and_the_largest_comes_first() -> None:
    small = Measures("small.py", 5, True, 1, 0, 3, "f", 3)
    big = [Measures("big/a.py", 10, True, 2, 1, 9, "g", 7), Measures("big/b.py", 20, True, 1, 1, 2, "h", 2)]
    rows = by_package([small, *big])
    assert [row.package for row in rows] == ["big", "small"]
    assert (rows[0].files, rows[0].lines, rows[0].functions, rows[0].classes, rows[0].complexity) == (2, 30, 3, 2, 11)
    assert (rows[0].hardest, rows[0].hardest_complexity) == ("g", 7)
    assert totals("all", [small, *big]).lines == 35
    assert totals("all", []).files == 0


def test_an_account_balances_when_every_file_came_back_once() -> None:
    account = Account(["a.py", "b.py"], [Measures("b.py", 1, True, process=1), Measures("a.py", 1, process=2)])
    assert account.balances
    assert (account.analysed, account.counted, account.processes, account.missing) == (1, 1, 2, [])


@pytest.mark.parametrize(
    ("measured", "failed", "missing"),
    [
        ([Measures("a.py", 1)], {}, ["b.py"]),
        ([Measures("a.py", 1)], {"b.py": "exception: OSError: gone"}, []),
        ([Measures("a.py", 1), Measures("b.py", 1), Measures("b.py", 1)], {}, []),
    ],
)
def test_an_account_with_a_file_missing_failed_or_doubled_does_not_balance(
    measured: list[Measures], failed: dict[str, str], missing: list[str]
) -> None:
    account = Account(["a.py", "b.py"], measured, failed)
    assert not account.balances
    assert account.missing == missing


def test_a_job_raises_by_accident_once(tmp_path: Path) -> None:
    accidents = Accidents(tmp_path, kills="k.py", raises="r.py")
    assert accidents.raised_at() is None
    with pytest.raises(ConnectionError, match=r"r\.py"):
        accidents.befall("r.py")
    happened_at = accidents.raised_at()
    accidents.befall("r.py")
    accidents.befall("other.py")
    assert happened_at is not None
    assert accidents.raised_at() == happened_at
    assert accidents.killed_at() is None
    assert accidents.happened == 1


class FakeQueue:
    """Finishes 10 jobs between two looks, and notes after how many each job with a priority came."""

    def __init__(self) -> None:
        self.unfinished = 0
        self.finished = 0
        self.urgent: list[tuple[str, int]] = []

    def submit_many(self, method: str, files: list[str]) -> list[FakeJob]:
        self.unfinished += len(files)
        return [FakeJob() for _ in files]

    def options(self, *, priority: int) -> FakeQueue:
        return self

    def submit(self, method: str, file: str) -> FakeJob:
        self.urgent.append((file, self.finished))
        self.unfinished += 1
        return FakeJob()

    def status(self) -> QueueStatus:
        step = min(10, self.unfinished)
        self.unfinished -= step
        self.finished += step
        return QueueStatus("q", self.unfinished, 0, 0, 0, False, "memory")


class FakeJob:
    state = "done"
    started_at = 0.0
    attempts = 2
    last_error = Failure("signal", "", "killed", signal=9)

    def done(self) -> bool:
        return True


class EmptyQueue:
    def status(self) -> QueueStatus:
        return QueueStatus("other", 0, 0, 0, 0, False, "memory")


@pytest.mark.parametrize("count", [3, 90])
def test_the_accidents_come_after_one_and_two_thirds_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    files = [f"{n}.py" for n in range(count)]
    written = io.StringIO()
    queue = FakeQueue()
    accidents = Accidents(tmp_path, kills="1.py", raises="2.py")
    (tmp_path / "killed").write_text("-0.025")
    jobs = Course(queue, EmptyQueue(), accidents, Screen(count, Console(file=written))).run(files)  # type: ignore[arg-type]
    assert sorted(jobs) == sorted(files)
    assert queue.finished == count
    assert [file for file, _ in queue.urgent] == ["1.py", "2.py"]
    assert [after for _, after in queue.urgent] == ([30, 60] if count == 90 else [1, 2])
    assert "1.py: signal 9 killed its worker; Retry had it running again 25 ms later; done at attempt 2\n" in written.getvalue()
    assert "2.py: the accident staged for it did not happen\n" in written.getvalue()


def test_a_process_is_killed_by_accident_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    accidents = Accidents(tmp_path, kills="k.py", raises="r.py")
    for _ in range(2):
        accidents.befall("k.py")
    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert accidents.killed_at() is not None


def test_without_a_terminal_the_screen_prints_plain_lines() -> None:
    written = io.StringIO()
    screen = Screen(200, Console(file=written, width=120))
    with screen:
        for done in (0, 10, 19, 20, 25, 199, 200):
            screen.advanced(done, ["a.py"])
        screen.say("said [in brackets]")
        screen.show(by_package([Measures("a.py", 1234, True, 1, 0, 4, "f", 4)]), totals("all", [Measures("a.py", 1234)]), "largest")
    text = written.getvalue()
    assert "\x1b" not in text
    assert [line.split()[0] for line in text.splitlines() if " of 200 files" in line] == ["20", "199", "200"]
    assert "said [in brackets]" in text
    assert "1,234" in text
    assert text.splitlines()[-4].split() == ["a", "1", "1,234", "1", "4", "4", "f"]


def test_on_a_terminal_the_screen_has_a_bar() -> None:
    written = io.StringIO()
    screen = Screen(4, Console(file=written, width=120, force_terminal=True))
    with screen:
        screen.advanced(4, ["a.py", "b.py"])
    assert "4/4" in written.getvalue()
    assert "a.py, b.py" in written.getvalue()


def test_the_command_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"honeydew-ray\[cli\]"):
        cli.main()


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(SystemExit, match="--workers was -1"):
        cli.demo(workers=-1)
