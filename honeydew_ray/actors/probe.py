"""Hearing from a worker every so often, and telling one that hangs from one that computes."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path
from typing import Any

from ray.exceptions import ActorUnavailableError

from honeydew_ray.actors.errand import run_on

_CALLS = 3  # in the time after which silence is noticed


class Probe:
    """Calls one worker again and again; its control threads answer while a job runs."""

    def __init__(self, handle: Any, node: str, pid: int, own_node: str, timeout_s: float) -> None:
        self._handle = handle
        self._node = node
        self._pid = pid
        self._own_node = own_node
        self._timeout_s = timeout_s
        self._heard = asyncio.get_running_loop().time()
        self._used_s = 0.0  # of a processor, when it was last heard

    async def silence(self) -> tuple[float, float]:
        """Return when the worker has not answered for ``timeout_s``: how long that was, and how much processor time it used meanwhile.

        Time that cannot be learnt, as the worker's node is out of reach, counts as used: such a node is
        Ray's to judge. Raises a `RayError` when the worker is dead.
        """
        loop = asyncio.get_running_loop()
        while loop.time() - self._heard < self._timeout_s:
            await asyncio.sleep(self._timeout_s / _CALLS)
            try:
                self._used_s = await asyncio.wait_for(self._handle.pulse.remote(), self._timeout_s)
                self._heard = loop.time()
            except (ActorUnavailableError, asyncio.TimeoutError):  # not dead
                continue
        used_s = await self._processor_time()
        silent_s, computed_s = loop.time() - self._heard, used_s - self._used_s
        self._heard, self._used_s = loop.time(), 0.0 if math.isinf(used_s) else used_s
        return silent_s, computed_s

    async def _processor_time(self) -> float:
        try:
            return await run_on(self._node, self._own_node, processor_time, self._pid)
        except Exception:  # the node is gone, or has no process to spare
            return math.inf


def processor_time(pid: int) -> float:
    """The seconds of processor time that a process of this machine has used; 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
