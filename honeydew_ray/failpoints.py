"""Places where a test can make a process die, stop, stall or fail; inert unless `HONEYDEW_FAILPOINTS` asks for it.

The variable holds ``point=action`` or ``point=action@hit``, separated by commas or semicolons::

    HONEYDEW_FAILPOINTS="ack.pre_commit=kill@3, enq.pre_commit=sleep:0.5"

kills the process at the third acknowledgement and delays every enqueue by half a second. Without
``@hit`` the action is taken at each hit. With `HONEYDEW_FAILPOINTS_ONCE` set to the path of a file, no
action is taken once that file exists, and the first one makes it: so a process that is started
again, with the same environment, does not die again. A ``raise`` at a point after a commit is
execute-then-error: the change has happened, and whoever asked for it is told of an error.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

VARIABLE = "HONEYDEW_FAILPOINTS"
ONCE_VARIABLE = "HONEYDEW_FAILPOINTS_ONCE"
POINTS = (
    "enq.pre_commit", "enq.post_commit", "disp.post_reserve", "disp.post_send", "ack.pre_commit", "ack.post_commit",
    "nack.pre", "move.between", "job.post_user",
)
_SETTING = re.compile(r"(?P<point>[\w.]+)=(?P<action>kill|stop|raise|sleep:\d+(\.\d+)?)(@(?P<hit>[1-9]\d*))?")


class FailpointHit(Exception):
    """A failpoint was told to raise."""


@dataclass
class _Failpoint:
    point: str
    action: str
    hit: int | None  # None: each
    hits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_by(self) -> None:
        with self.lock:
            self.hits += 1
            due = self.hit is None or self.hits == self.hit
        if due and _first_time():
            self.act()

    def act(self) -> None:
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.action == "raise":
            raise FailpointHit(f"failpoint {self.point} was told to raise, at hit {self.hits}")
        else:
            time.sleep(float(self.action.partition(":")[2]))


class Failpoints:
    """Those that a text asks for. Raises `ValueError` if it is not understood."""

    def __init__(self, text: str) -> None:
        self._set: dict[str, _Failpoint] = {}
        for part in filter(None, (part.strip() for part in re.split("[,;]", text))):
            failpoint = _parse(part)
            self._set[failpoint.point] = failpoint

    def __bool__(self) -> bool:
        return bool(self._set)

    def hit(self, point: str) -> None:
        """Do here what was asked for, if anything was."""
        failpoint = self._set.get(point)
        if failpoint is not None:
            failpoint.pass_by()


def _first_time() -> bool:
    marker = os.environ.get(ONCE_VARIABLE)
    if marker is None:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _parse(part: str) -> _Failpoint:
    match = _SETTING.fullmatch(part)
    if match is None or match["point"] not in POINTS:
        raise ValueError(
            f"{VARIABLE}: {part!r} is not a failpoint, expected point=action or point=action@hit, where point is one of "
            f"{', '.join(POINTS)} and action is kill, stop, raise or sleep:SECONDS; for example ack.pre_commit=kill@3")
    return _Failpoint(match["point"], match["action"], int(match["hit"]) if match["hit"] else None)


def _inert(point: str) -> None:
    """Nothing was asked for."""


hit: Callable[[str], None] = Failpoints(os.environ[VARIABLE]).hit if os.environ.get(VARIABLE) else _inert
"""Called at each of the `POINTS`, as ``failpoints.hit("ack.pre_commit")``."""
