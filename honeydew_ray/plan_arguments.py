"""How many workers, and where: the arguments of `start_workers` made into a plan, or refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from honeydew_ray.arguments import expect_count, refuse, refuse_type
from honeydew_ray.placement import Plan


def plan_of(num: Any, per_node: Any, nodes: Any, options: Mapping[str, Any], idle_timeout_s: float) -> Plan:
    """The plan; with neither ``num`` nor ``per_node``, for one worker."""
    if per_node is not None and num is not None:
        raise refuse("start_workers", "num_per_node", per_node, f"no num beside it, which was {num!r}", "num_per_node=1")
    strategy = options.get("scheduling_strategy")
    if strategy is not None and (per_node is not None or nodes is not None):
        expected = "none beside num_per_node and nodes, which place the workers too"
        raise refuse("start_workers", "the scheduling_strategy of ray_options", strategy, expected, "num=4")
    least, most = (1, 1) if num is None else _numbers(num)
    names, labels = _places(nodes)
    selector: Mapping[str, str] = options.get("label_selector") or {}
    return Plan(
        least=least,
        most=most,
        per_node=None if per_node is None else expect_count("start_workers", "num_per_node", per_node, least=1),
        nodes=names,
        labels={**selector, **labels},
        demand=demand_of(options),
        idle_timeout_s=idle_timeout_s,
        ray_places=strategy is not None,
    )


def demand_of(ray_options: Mapping[str, Any]) -> dict[str, float]:
    """The resources that a worker of these options reserves; a worker takes one CPU unless they say otherwise."""
    named = {"CPU": ray_options.get("num_cpus", 1), "GPU": ray_options.get("num_gpus", 0), "memory": ray_options.get("memory", 0)}
    resources: Mapping[str, Any] = ray_options.get("resources") or {}
    demand: dict[str, Any] = {**named, **resources}
    return {resource: float(amount) for resource, amount in demand.items() if amount}


def _numbers(num: Any) -> tuple[int, int]:
    """``num``, or its bounds."""
    if not issubclass(type(num), tuple):
        count = expect_count("start_workers", "num", num, least=1)
        return count, count
    if len(num) != 2:
        raise refuse("start_workers", "num", num, "a whole number, or the least and the most", "num=(2, 20)")
    least = expect_count("start_workers", "num", num[0])
    return least, expect_count("start_workers", "num", num[1], least=max(least, 1))


def _places(nodes: Any) -> tuple[frozenset[str] | None, dict[str, str]]:
    """The names of nodes, or the labels that nodes must have."""
    if nodes is None:
        return None, {}
    example = 'nodes=["10.0.0.7"] or nodes={"zone": "a"}'
    if issubclass(type(nodes), str) or not issubclass(type(nodes), Collection):
        raise refuse_type("start_workers", "nodes", nodes, "a list of ids, addresses or host names, or a mapping of labels", example)
    labelled = issubclass(type(nodes), Mapping)
    texts: list[Any] = [*nodes.keys(), *nodes.values()] if labelled else [*nodes]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise refuse("start_workers", "nodes", nodes, "at least one node, or one label and its value, as strings", example)
    return (None, dict(nodes)) if labelled else (frozenset(texts), {})
