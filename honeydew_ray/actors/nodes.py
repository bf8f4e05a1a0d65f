"""The nodes of the cluster, at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import ray
from ray._private.state import available_resources_per_node, state  # pyright: ignore

from honeydew_ray.placement import NodeView

_NO_DEADLINE_MS = 2**62  # Ray's own is above


def nodes() -> list[NodeView]:
    """The nodes that are alive, those that drain among them. Blocks for three calls to the head node, each well under a millisecond."""
    free = cast("dict[str, dict[str, float]]", available_resources_per_node())
    draining = state.get_draining_nodes()
    return [_view(entry, free, draining) for entry in cast("list[dict[str, Any]]", ray.nodes()) if entry["Alive"]]


def _view(entry: Mapping[str, Any], free: Mapping[str, Mapping[str, float]], draining: Mapping[str, int]) -> NodeView:
    node: str = entry["NodeID"]
    deadline_ms = draining.get(node)
    leaves_at = None if deadline_ms is None else deadline_ms / 1000 if 0 < deadline_ms < _NO_DEADLINE_MS else math.inf
    names = frozenset(str(entry[key]) for key in ("NodeManagerAddress", "NodeManagerHostname", "NodeName") if entry.get(key))
    return NodeView(node, names, entry.get("Labels") or {}, entry.get("Resources") or {}, free.get(node, {}), leaves_at)
