"""Runs a script as a user would, in a process of its own with a Ray of its own, and sees what it leaves behind."""

import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAIR_SHARE = "RAY_worker_niceness", "0"
"""Where a Ray starts, gives its workers their share of the processors. Ray's own choice, niceness 15, leaves them a thirtieth of one that
another program keeps busy; two of these tests run at a time, and some are such programs for minutes."""


@dataclass(frozen=True)
class Finished:
    """How a script ended, and what it printed."""

    code: int
    output: str
    errors: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- output\n{self.output}\n--- errors\n{self.errors}"


def run_script(*arguments: object, timeout_s: float = 100, cwd: Path = ROOT, yields: bool = False) -> Finished:
    """Run Python with these arguments. Fails if the script leaves a process behind. ``yields``: its Ray leaves others the processors."""
    mark = "HONEYDEW_TEST_RUN", uuid.uuid4().hex
    tag = "=".join(mark)
    environment = {**os.environ, "RAY_ADDRESS": "local", "COLUMNS": "140", **dict([mark])}
    if not yields:
        environment.update([FAIR_SHARE])
    script = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        env=environment, cwd=cwd, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = script.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end(_descendants(script.pid, tag))
        output, errors = script.communicate()
        raise AssertionError(f"not done after {timeout_s} s: {Finished(-1, output, errors)}") from None
    left = _left_after(10, script.pid, tag)
    _end(left)
    assert not left, f"left processes behind: {left}"
    return Finished(script.returncode, output, errors)


def _left_after(patience_s: float, session: int, tag: str) -> dict[int, str]:
    deadline = time.monotonic() + patience_s
    while (left := _descendants(session, tag)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _descendants(session: int, tag: str) -> dict[int, str]:
    """The live processes of the script's session, or with its mark in their environment: id and command."""
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, process_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            marked = tag.encode() in (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended meanwhile, or is someone else's
            continue
        if state != "Z" and (marked or int(process_session) == session):
            found[int(process.name)] = command
    return found


def _end(processes: dict[int, str]) -> None:
    for process in processes:
        try:
            os.kill(process, 9)
        except ProcessLookupError:
            continue
