"""What happened, one JSON line per event, in a file per process: no process's death loses what it had written."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One thing that happened. ``at`` is CLOCK_MONOTONIC in seconds, which is one clock for all processes of a machine."""

    at: float
    what: str
    facts: dict[str, Any]


class Recorder:
    """Appends events to a file of this process's own.

    An event is one line, written by one ``write`` to a file opened for appending: SIGKILL loses
    none that was written, and tears at most the last.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}-{os.getpid()}.jsonl"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, **facts: Any) -> float:
        """Write an event down; the time that was noted."""
        at = time.monotonic()
        line = json.dumps([at, what, facts], separators=(",", ":")).encode() + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes were written; is the disk full?")
        return at

    def close(self) -> None:
        os.close(self._file)


def read_events(folder: Path) -> list[Event]:
    """What all processes wrote, in the order of time. A torn last line of a file is left out; raises `ValueError` for any other."""
    events = [event for path in sorted(folder.glob("*.jsonl")) for event in _read(path)]
    return sorted(events, key=lambda event: event.at)


def _read(path: Path) -> list[Event]:
    *lines, _torn = path.read_bytes().split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            at, what, facts = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {line[:80]!r} is no event: {error}") from None
        events.append(Event(float(at), str(what), dict(facts)))
    return events
