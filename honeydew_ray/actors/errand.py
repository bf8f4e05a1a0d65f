"""A function run on a node of the cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from honeydew_ray.actors.wrapping import wrapped

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S = 10.0
"""How long another node may take: a process has to start there."""


async def run_on(node: str, own_node: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a function of a module returns on a node: called in a thread of this process if that lives there, else in a process there.

    Raises what it raises, a `RayError` if the node is gone, and `asyncio.TimeoutError` after `TIMEOUT_S` on another node.
    """
    if node == own_node:
        return await asyncio.to_thread(function, *args, **kwargs)
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ref = wrapped(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(*args, **kwargs)
    try:
        found: R = await asyncio.wait_for(ref, TIMEOUT_S)
    except asyncio.TimeoutError:
        with contextlib.suppress(Exception):
            ray.cancel(ref)
        raise
    return found
