"""Finding out how a worker died, and whether it had begun the job it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from honeydew_ray.actors import blackbox, cluster
from honeydew_ray.actors.blackbox import Recording
from honeydew_ray.actors.worker_actor import token_text
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import Token
from honeydew_ray.transport import Died, Lost, NotStarted

_REMOTE_TIMEOUT_S = 10.0


async def examine(worker: WorkerRef, token: Token, error: Exception, own_node: str) -> Died | Lost | NotStarted:
    """What the death of a worker means for the attempt that it was sent."""
    if isinstance(error, OutOfMemoryError):
        return Died(Failure("out_of_memory", "OutOfMemoryError", str(error)))
    if worker.node != own_node and not await asyncio.to_thread(cluster.node_is_alive, worker.node):
        return Lost(_node_lost(worker))
    try:
        recording = await bury(worker, own_node)
    except Exception:  # the node went away, or has no process to spare
        if not await asyncio.to_thread(cluster.node_is_alive, worker.node):
            return Lost(_node_lost(worker))
        recording = None
    if recording is not None and recording.token != token_text(token):
        return NotStarted(worker_alive=False)
    return Died(cause(recording, error))


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


def _node_lost(worker: WorkerRef) -> Failure:
    return Failure("node_lost", "NodeLost", f"the worker's node {worker.node} is gone")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
