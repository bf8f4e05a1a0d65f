"""Signals between a test and the jobs it started: named pipes, which both sides wait at without polling."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Signal:
    """One side sends, the other waits; whoever comes first blocks until the other is there."""

    path: str

    @classmethod
    def make(cls, folder: Path, name: str) -> Signal:
        path = folder / name
        os.mkfifo(path)
        return cls(str(path))

    def send(self, text: object = "") -> None:
        Path(self.path).write_text(f"{text}\n")

    def wait(self) -> str:
        return Path(self.path).read_text().strip()
