"""Where a group's workers may live, and which node is next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SET = re.compile(r"in\((.*)\)")


@dataclass(frozen=True, slots=True)
class NodeView:
    """A live node, as Ray describes it at one moment."""

    id: str
    names: frozenset[str] = frozenset()  # its address and its host name
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    total: Mapping[str, float] = field(default_factory=dict[str, float])
    free: Mapping[str, float] = field(default_factory=dict[str, float])
    leaves_at: float | None = None  # it drains, until this wall-clock second; infinity: no time was set


@dataclass(frozen=True, slots=True)
class Place:
    """Where to start a worker. ``only``: nowhere else, even if it must wait; ``node`` None: wherever Ray finds room."""

    node: str | None = None
    only: bool = False


ANYWHERE = Place()


@dataclass(frozen=True, slots=True)
class Plan:
    """How many workers a group shall have, and where they may live.

    ``least`` to ``most`` in all, spread over the nodes; or ``per_node`` on each node. ``nodes`` are
    ids, addresses or host names; ``labels`` are what a node's labels must match, as in Ray: a value,
    ``!value``, ``in(a, b)`` or ``!in(a, b)``. ``demand`` is what a worker reserves.
    """

    least: int = 1
    most: int = 1
    per_node: int | None = None
    nodes: frozenset[str] | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    demand: Mapping[str, float] = field(default_factory=dict[str, float])
    idle_timeout_s: float = 60.0
    ray_places: bool = False  # the user named a scheduling strategy

    @property
    def elastic(self) -> bool:
        """Whether the number of workers follows the backlog."""
        return self.per_node is None and self.least != self.most

    def allows(self, node: NodeView) -> bool:
        """Whether a worker may live on this node, and would find room there if it were empty."""
        named = self.nodes is None or node.id in self.nodes or not self.nodes.isdisjoint(node.names)
        fits = all(node.total.get(resource, 0.0) >= amount for resource, amount in self.demand.items())
        labelled = all(_matches(node.labels.get(key), wanted) for key, wanted in self.labels.items())
        return named and fits and labelled and node.leaves_at is None

    def has_room(self, node: NodeView, coming: int = 0) -> bool:
        """Whether the node has free what one more worker reserves, when those on their way have taken theirs."""
        return all(node.free.get(resource, 0.0) >= amount * (coming + 1) for resource, amount in self.demand.items())

    def choose(self, nodes: Sequence[NodeView], workers: Counter[str], coming: Counter[str]) -> Place | None:
        """The place for the next worker: the node with the fewest of those that have room.

        ``workers`` counts the group's workers by node, ``coming`` those among them whose resources are
        not taken yet. If no node has room: wherever Ray will find some, so that its autoscaler sees the
        demand; but on a node that was named, there. None: no such node is in the cluster.
        """
        if self.ray_places or not nodes:
            return ANYWHERE
        allowed = [node for node in nodes if self.allows(node)]
        roomy = [node for node in allowed if self.has_room(node, coming[node.id])]
        if self.nodes is None and not roomy:
            return ANYWHERE
        best = min(roomy or allowed, key=lambda node: workers[node.id], default=None)
        return None if best is None else Place(best.id, only=self.nodes is not None)


def _matches(label: str | None, wanted: str) -> bool:
    refused = wanted.startswith("!")
    wanted = wanted.removeprefix("!")
    several = _SET.fullmatch(wanted)
    values = {value.strip() for value in several[1].split(",")} if several else {wanted}
    return (label in values) is not refused
