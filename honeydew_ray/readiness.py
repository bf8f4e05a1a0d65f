"""Waiting until a queue has workers that are ready for jobs."""

from __future__ import annotations

import asyncio

from honeydew_ray.workforce import Workforce


async def ready_within(workforce: Workforce, num: int, patience_s: float) -> bool:
    """Whether at least ``num`` workers are ready, now or within ``patience_s`` seconds."""

    async def until_ready() -> None:
        while workforce.ready() < num:
            await workforce.change()

    try:
        await asyncio.wait_for(until_ready(), patience_s)
    except asyncio.TimeoutError:
        return workforce.ready() >= num  # before Python 3.12, wait_for does not so much as begin what has no time
    return True
