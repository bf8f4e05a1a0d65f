"""Options for Ray's actors that a user may give: where they live and what they reserve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from honeydew_ray.arguments import refuse

_RESERVED = frozenset({
    "name", "namespace", "lifetime", "get_if_exists", "max_restarts", "max_task_retries", "max_concurrency",
    "concurrency_groups", "num_returns", "enable_task_events",
})


def options_of(where: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the options. Raises ``ValueError`` for those on which Honeydew's promises rest, which it sets itself."""
    options = dict(given or {})
    taken = sorted(_RESERVED & options.keys())
    if taken:
        expected = f"none of {', '.join(taken)}, which Honeydew sets itself"
        raise refuse(where, "ray_options", options, expected, 'ray_options={"num_gpus": 1}')
    return options
