"""Finding out how a worker died, and whether it had begun the job it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from honeydew_ray.actors import blackbox, cluster
from honeydew_ray.actors.blackbox import Recording
from honeydew_ray.actors.worker_actor import SEVERAL, token_text
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import Token
from honeydew_ray.transport import Died, Lost, NotStarted, Report

_REMOTE_TIMEOUT_S = 10.0
_REMEMBERED = 1000


class Coroner:
    """Examines the dead for the queue of one node: each once, however many leases it had."""

    def __init__(self, own_node: str) -> None:
        self._own_node = own_node
        self._found: dict[str, asyncio.Task[Recording | None]] = {}

    async def examine(self, worker: WorkerRef, tokens: Sequence[Token], error: Exception) -> list[Report]:
        """What the death of a worker means for the attempts of a lease that it was sent, in the order of the lease."""
        if await self._node_is_gone(worker):
            return [Lost(_node_lost(worker))] * len(tokens)
        try:
            recording = await self.bury(worker)
        except Exception:  # the node went away, or has no process to spare
            if await self._node_is_gone(worker):
                return [Lost(_node_lost(worker))] * len(tokens)
            recording = None
        return _reports(tokens, recording, error)

    async def bury(self, worker: WorkerRef) -> Recording | None:
        """As `bury`, once for each worker: the others are told the same."""
        burial = self._found.get(worker.id)
        if burial is None:
            burial = self._found[worker.id] = asyncio.ensure_future(bury(worker, self._own_node))
            while len(self._found) > _REMEMBERED:
                del self._found[next(iter(self._found))]
        return await asyncio.shield(burial)

    async def _node_is_gone(self, worker: WorkerRef) -> bool:
        return worker.node != self._own_node and not await asyncio.to_thread(cluster.node_is_alive, worker.node)


def _reports(tokens: Sequence[Token], recording: Recording | None, error: Exception) -> list[Report]:
    """The job that was begun last met the end; those before it had ended, those after it had not begun."""
    if recording is None and len(tokens) > 1:
        return [Lost(_in_company(error))] * len(tokens)
    failure = Failure("out_of_memory", "OutOfMemoryError", str(error)) if isinstance(error, OutOfMemoryError) else cause(recording, error)
    if recording is None:
        return [Died(failure)]
    if recording.token == SEVERAL:
        return [Lost(_in_company(error))] * len(tokens)
    begun = next((index for index, token in enumerate(tokens) if token_text(token) == recording.token), -1)
    before: list[Report] = [Lost(_answer_lost())] * max(begun, 0)
    last: list[Report] = [Died(failure)] if begun >= 0 else []
    return [*before, *last, *[NotStarted(worker_alive=False)] * (len(tokens) - begun - 1)]


def cause(recording: Recording | None, error: Exception) -> Failure:
    """How a worker's process ended, by its recorder."""
    if recording is None:
        return Failure("signal", "WorkerDied", f"the worker's process is gone and left no record; Ray says: {_first_line(error)}")
    if recording.exit_code is not None:
        text = f"the job ended its worker's process with exit status {recording.exit_code}"
        return Failure("exit", "WorkerExited", text, exit_code=recording.exit_code)
    number = recording.signal
    if number is not None:
        name = signal.Signals(number).name
        return Failure("signal", "WorkerKilled", f"the worker's process was ended by {name}", recording.crash, signal=number)
    text = "the worker's process was ended by SIGKILL: it vanished without a trace (the kernel's out-of-memory killer sends SIGKILL too)"
    return Failure("signal", "WorkerKilled", text, signal=int(signal.SIGKILL))


async def bury(worker: WorkerRef, own_node: str) -> Recording | None:
    """Make sure that a worker that Ray has declared dead is dead, and take what it left, on its own node."""
    if worker.node == own_node:
        return await asyncio.to_thread(blackbox.bury, worker.id)
    there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
    remote: Any = ray.remote(blackbox.bury)
    ref = remote.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(worker.id)
    try:
        return await asyncio.wait_for(ref, _REMOTE_TIMEOUT_S)
    except asyncio.TimeoutError:
        with contextlib.suppress(Exception):
            ray.cancel(ref)
        raise


def _in_company(error: Exception) -> Failure:
    text = f"the worker died while several jobs were in hand, and which of them ended it is not known: {_first_line(error)}"
    return Failure("signal", "WorkerDied", text)


def _answer_lost() -> Failure:
    return Failure("exit", "AnswerLost", "the job had ended, but its worker died under the next one before the answer was taken")


def _node_lost(worker: WorkerRef) -> Failure:
    return Failure("node_lost", "NodeLost", f"the worker's node {worker.node} is gone")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
