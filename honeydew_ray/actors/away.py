"""Telling an actor that is away from one that is gone: queues and groups, which Ray starts again wherever they die."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from honeydew_ray.actors import cluster


def is_away(actor: Any, error: RayError) -> bool:
    """Whether a call to a queue or a group failed as its process is being started again: the next one may be answered.

    If its node was drained, Ray says that it died, and starts it elsewhere all the same; then this
    blocks for a call to the head node.
    """
    if isinstance(error, ActorUnavailableError):
        return True
    return isinstance(error, ActorDiedError) and bool(error.preempted) and cluster.state_of(actor) not in (None, "DEAD")


async def is_away_async(actor: Any, error: RayError) -> bool:
    """As `is_away`, without holding up an event loop."""
    return await asyncio.to_thread(is_away, actor, error)
