"""How fast a queue is, from looks at its status."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from honeydew_ray.status import QueueStatus

_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Rates:
    """Attempts per second over the last few looks, and how the depth and the rate went before that, oldest first."""

    succeeded: float = 0.0
    failed: float = 0.0
    depths: tuple[int, ...] = ()
    history: tuple[float, ...] = ()  # succeeded per second, between one look and the next

    def sparkline(self, width: int = 30) -> str:
        """The rate's history as a line of blocks.

        >>> Rates(history=(0.0, 5.0, 10.0)).sparkline()
        '▁▄█'
        """
        shown = self.history[-width:]
        most = max(shown, default=0.0)
        return "".join(_BLOCKS[int(rate / most * (len(_BLOCKS) - 1))] if most > 0 else _BLOCKS[0] for rate in shown)


class Looks:
    """Keeps the last looks at one queue and says its pace; a queue whose process began anew is followed from there."""

    def __init__(self, window_s: float = 5.0, kept: int = 120) -> None:
        self._window_s = window_s
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=kept)  # when, succeeded, failed
        self._depths: deque[int] = deque(maxlen=kept)
        self._history: deque[float] = deque(maxlen=kept)

    def add(self, now: float, status: QueueStatus) -> Rates:
        """Another look, at ``now`` seconds of a clock that only goes forward; the pace with it."""
        if self._looks and status.succeeded < self._looks[-1][1]:
            self._looks.clear()
        if self._looks and now > self._looks[-1][0]:
            self._history.append((status.succeeded - self._looks[-1][1]) / (now - self._looks[-1][0]))
        self._looks.append((now, status.succeeded, status.failed))
        self._depths.append(status.pending + status.delayed + status.in_progress)
        first = next(look for look in self._looks if look[0] >= now - self._window_s)
        if first[0] == now and len(self._looks) > 1:  # looks are further apart than the window
            first = self._looks[-2]
        over_s = now - first[0]
        succeeded = (status.succeeded - first[1]) / over_s if over_s > 0 else 0.0
        failed = (status.failed - first[2]) / over_s if over_s > 0 else 0.0
        return Rates(succeeded, failed, tuple(self._depths), tuple(self._history))
