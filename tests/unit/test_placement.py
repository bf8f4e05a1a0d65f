"""Which nodes a group may use, and which is next."""

from __future__ import annotations

from collections import Counter

import pytest

from honeydew_ray.placement import ANYWHERE, NodeView, Place, Plan
from honeydew_ray.plan_arguments import demand_of, plan_of

CPU = {"CPU": 1.0}


def node(name: str, cpus: float = 4.0, free: float | None = None, leaves_at: float | None = None, **labels: str) -> NodeView:
    total = {"CPU": cpus}
    return NodeView(name, frozenset({f"10.0.0.{name[1:]}"}), labels, total, {"CPU": cpus if free is None else free}, leaves_at)


def choose(plan: Plan, *nodes: NodeView, workers: dict[str, int] | None = None, coming: dict[str, int] | None = None) -> Place | None:
    return plan.choose(nodes, Counter(workers or {}), Counter(coming or {}))


def test_the_node_with_the_fewest_workers_is_next() -> None:
    plan = Plan(demand=CPU)
    assert choose(plan, node("n1"), node("n2"), node("n3"), workers={"n1": 1, "n2": 0, "n3": 2}) == Place("n2")
    assert choose(plan, node("n1"), node("n2"), workers={"n1": 1, "n2": 1}) == Place("n1")


def test_a_node_without_room_is_passed_over() -> None:
    plan = Plan(demand=CPU)
    assert choose(plan, node("n1", free=0.5), node("n2"), workers={"n2": 3}) == Place("n2")
    assert choose(plan, node("n1", free=1), node("n2"), workers={"n2": 3}) == Place("n1")


def test_those_on_their_way_take_room_too() -> None:
    plan = Plan(demand=CPU)
    assert choose(plan, node("n1", free=2), node("n2"), workers={"n2": 3}, coming={"n1": 1}) == Place("n1")
    assert choose(plan, node("n1", free=2), node("n2"), workers={"n2": 3}, coming={"n1": 2}) == Place("n2")


def test_without_room_anywhere_ray_looks_for_it_and_may_make_the_cluster_grow() -> None:
    plan = Plan(demand=CPU)
    assert choose(plan, node("n1", free=0)) == ANYWHERE
    assert choose(plan, node("n1", cpus=0.5)) == ANYWHERE, "no node is large enough"
    assert choose(plan) == ANYWHERE


def test_a_worker_that_reserves_nothing_finds_room_everywhere() -> None:
    assert choose(Plan(), node("n1", free=0), node("n2", free=0), workers={"n1": 50, "n2": 49}, coming={"n2": 49}) == Place("n2")


@pytest.mark.parametrize("name", ["n2", "10.0.0.2"])
def test_on_named_nodes_a_worker_waits_for_room_or_for_the_node(name: str) -> None:
    plan = Plan(demand=CPU, nodes=frozenset({name}))
    assert choose(plan, node("n1"), node("n2")) == Place("n2", only=True)
    assert choose(plan, node("n1"), node("n2", free=0)) == Place("n2", only=True)
    assert choose(plan, node("n1")) is None
    assert choose(plan, node("n1"), node("n2", cpus=0.5)) is None


@pytest.mark.parametrize(("wanted", "zones"), [
    ("a", ["a"]), ("!a", ["b", None]), ("in(a, b)", ["a", "b"]), ("in(b)", ["b"]), ("!in(a,b)", [None]),
])  # fmt: skip
def test_labels_are_matched_as_ray_matches_them(wanted: str, zones: list[str | None]) -> None:
    plan = Plan(labels={"zone": wanted})
    nodes = {"a": node("n1", zone="a"), "b": node("n2", zone="b"), None: node("n3")}
    assert [zone for zone, view in nodes.items() if plan.allows(view)] == zones


def test_all_labels_must_match() -> None:
    plan = Plan(labels={"zone": "a", "kind": "spot"})
    assert not plan.allows(node("n1", zone="a"))
    assert plan.allows(node("n1", zone="a", kind="spot"))


def test_a_node_that_drains_gets_no_worker() -> None:
    assert choose(Plan(demand=CPU), node("n1", leaves_at=9.0), node("n2"), workers={"n2": 9}) == Place("n2")


def test_a_scheduling_strategy_of_the_users_own_is_left_to_ray() -> None:
    assert choose(Plan(demand=CPU, ray_places=True), node("n1")) == ANYWHERE


def test_the_demand_is_what_the_options_reserve() -> None:
    assert demand_of({}) == CPU
    assert demand_of({"num_cpus": 0}) == {}
    assert demand_of({"num_gpus": 0.5, "memory": 100, "resources": {"spot": 1}}) == {"CPU": 1.0, "GPU": 0.5, "memory": 100.0, "spot": 1.0}


def test_arguments_become_a_plan() -> None:
    assert plan_of(3, None, None, {}, 9.0) == Plan(3, 3, demand=CPU, idle_timeout_s=9.0)
    assert plan_of((0, 3), None, None, {}, 9.0) == Plan(0, 3, demand=CPU, idle_timeout_s=9.0)
    assert plan_of((0, 3), None, None, {}, 9.0).elastic and not plan_of((3, 3), None, None, {}, 9.0).elastic
    assert plan_of(None, 2, ["n1"], {}, 9.0) == Plan(1, 1, 2, frozenset({"n1"}), demand=CPU, idle_timeout_s=9.0)
    selected = plan_of(1, None, {"zone": "a"}, {"label_selector": {"kind": "spot"}}, 9.0)
    assert selected.labels == {"zone": "a", "kind": "spot"}
    assert plan_of(1, None, None, {"scheduling_strategy": "SPREAD"}, 9.0).ray_places


@pytest.mark.parametrize(("arguments", "error", "says"), [
    ((0, None, None, {}), ValueError, "num was 0"),
    ((1.5, None, None, {}), TypeError, "num was 1.5"),
    ((True, None, None, {}), TypeError, "num was True"),
    (((3, 2), None, None, {}), ValueError, "num was 2, expected a whole number, 3 or more"),
    (((0, 0), None, None, {}), ValueError, "num was 0, expected a whole number, 1 or more"),
    (((1, 2, 3), None, None, {}), ValueError, r"num=\(2, 20\)"),
    ((3, 2, None, {}), ValueError, "num_per_node was 2, expected no num beside it, which was 3"),
    ((None, 0, None, {}), ValueError, "num_per_node was 0"),
    ((1, None, "n1", {}), TypeError, "nodes was 'n1'"),
    ((1, None, [], {}), ValueError, "nodes was"),
    ((1, None, [3], {}), ValueError, "nodes was"),
    ((1, None, {"zone": 3}, {}), ValueError, "nodes was"),
    ((None, 1, None, {"scheduling_strategy": "SPREAD"}), ValueError, "scheduling_strategy of ray_options was 'SPREAD'"),
    ((1, None, ["n1"], {"scheduling_strategy": "SPREAD"}), ValueError, "scheduling_strategy of ray_options was 'SPREAD'"),
])  # fmt: skip
def test_bad_arguments_are_refused(arguments: tuple[object, ...], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        plan_of(*arguments, 9.0)  # type: ignore[arg-type]
