"""Whether the cluster has room for one more worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ray._private.state import available_resources_per_node  # pyright: ignore


def demand_of(ray_options: Mapping[str, Any]) -> dict[str, float]:
    """The resources that a worker of these options reserves; a worker takes one CPU unless they say otherwise."""
    named = {"CPU": ray_options.get("num_cpus", 1), "GPU": ray_options.get("num_gpus", 0), "memory": ray_options.get("memory", 0)}
    demand = {**named, **(ray_options.get("resources") or {})}
    return {resource: float(amount) for resource, amount in demand.items() if amount}


def has_room(ray_options: Mapping[str, Any]) -> bool:
    """Whether some node has free what a worker of these options reserves. Blocks for a call to the head node."""
    demand = demand_of(ray_options)
    free = cast("dict[str, dict[str, float]]", available_resources_per_node())
    return any(all(node.get(resource, 0.0) >= amount for resource, amount in demand.items()) for node in free.values())
