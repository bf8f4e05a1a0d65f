"""The accidents staged in the demo, each of which happens once."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accidents:
    """Which file's job kills its worker and which one's raises.

    Each leaves a file in ``directory`` with the time it happened, so that it happens on the first
    attempt and on no other, in whatever process that runs.
    """

    directory: Path
    kills: str
    raises: str

    def befall(self, file: str) -> None:
        """Have the accident that is staged for this file, if it has not happened yet."""
        if file == self.kills and self._first_time("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if file == self.raises and self._first_time("raised"):
            raise ConnectionError(f"the disk that holds {file} went away (staged)")

    def killed_at(self) -> float | None:
        """When the worker was killed, in epoch seconds; None if it was not."""
        return self._time_of("killed")

    def raised_at(self) -> float | None:
        """When the job raised, in epoch seconds; None if it did not."""
        return self._time_of("raised")

    @property
    def happened(self) -> int:
        """How many have happened."""
        return (self.killed_at() is not None) + (self.raised_at() is not None)

    def _first_time(self, what: str) -> bool:
        try:
            with (self.directory / what).open("x") as mark:
                mark.write(repr(time.time()))
        except FileExistsError:
            return False
        return True

    def _time_of(self, what: str) -> float | None:
        mark = self.directory / what
        return float(mark.read_text()) if mark.exists() else None
