"""A group over nodes that come, drain and go, and one that follows its load."""

from __future__ import annotations

import math

import pytest

from honeydew_ray.failure import Failure
from honeydew_ray.placement import ANYWHERE, NodeView, Place, Plan
from honeydew_ray.staffing import Action, Dismiss, Fence, Init, Kill, Retire, Spawn
from honeydew_ray.status import WorkerState
from honeydew_ray.supervisor import Supervisor

RETRY_S = 5.0
DEAD = Failure("exit", "WorkerDied", "gone")
CPU = {"CPU": 1.0}


def node(name: str, free: float = 4.0, leaves_at: float | None = None) -> NodeView:
    return NodeView(name, frozenset(), {}, {"CPU": 4.0}, {"CPU": free}, leaves_at)


def group(plan: Plan, *nodes: NodeView) -> Supervisor:
    made = Supervisor(plan, RETRY_S, lambda slot, serial: f"{slot}.{serial}")
    made.saw_nodes(nodes, 0.0)
    return made


def ids(actions: list[Action]) -> list[str]:
    """The workers to be spawned; there must be nothing else to do."""
    assert all(isinstance(action, Spawn) and not action.delay_s for action in actions), actions
    return [action.worker_id for action in actions]


def place(supervisor: Supervisor, worker_id: str) -> str | None:
    """The node of a worker's place."""
    found = supervisor.place(worker_id)
    return None if found is None else found.node


def up(supervisor: Supervisor, worker_id: str, ready: bool = True) -> None:
    """A worker's process is up, at its place, and ready."""
    supervisor.spawned(worker_id, place(supervisor, worker_id) or "n?", 7, {})
    if ready:
        supervisor.initialised(worker_id, 1)


def workers(supervisor: Supervisor) -> dict[str, str]:
    return {view.ref.id: view.ref.node for view in supervisor.views()}


def state(supervisor: Supervisor, worker_id: str) -> WorkerState:
    return next(view.state for view in supervisor.views() if view.ref.id == worker_id)


# -- placing ------------------------------------------------------------------------------------------


def test_workers_are_spread() -> None:
    supervisor = group(Plan(5, 5, demand=CPU), node("n1"), node("n2"))
    assert [place(supervisor, worker) for worker in ids(supervisor.start())] == ["n1", "n2", "n1", "n2", "n1"]


def test_a_replacement_goes_where_the_fewest_are() -> None:
    supervisor = group(Plan(3, 3, demand=CPU), node("n1"), node("n2"), node("n3"))
    for worker in ids(supervisor.start()):
        up(supervisor, worker)
    supervisor.saw_nodes([node("n1"), node("n2")], 1.0)
    [fresh] = ids(supervisor.died("2.3", DEAD))
    assert place(supervisor, fresh) == "n1"


def test_one_that_is_not_wanted_any_more_has_no_place() -> None:
    supervisor = group(Plan(1, 1), node("n1"))
    supervisor.start()
    assert supervisor.place("9.9") is None
    supervisor.stopping()
    assert supervisor.place("0.1") is None


def test_one_that_an_earlier_process_started_is_somewhere() -> None:
    supervisor = group(Plan(1, 1, per_node=1), node("n1"))
    supervisor.adopted(0, "0.old")
    assert supervisor.start() == [Spawn("0.old")]
    assert supervisor.place("0.old") == ANYWHERE


def test_a_worker_waits_for_a_node_that_is_named_and_starts_when_it_joins() -> None:
    supervisor = group(Plan(1, 1, nodes=frozenset({"n2"})), node("n1"))
    supervisor.start()
    assert supervisor.place("0.1") is None
    assert state(supervisor, "0.1") is WorkerState.PENDING
    assert supervisor.saw_nodes([node("n1")], 1.0) == []
    assert supervisor.saw_nodes([node("n1"), node("n2")], 2.0) == [Spawn("0.1")]
    assert state(supervisor, "0.1") is WorkerState.STARTING
    assert supervisor.saw_nodes([node("n1"), node("n2")], 3.0) == [], "once is enough"
    assert supervisor.place("0.1") == Place("n2", only=True)


def test_a_worker_that_starts_on_a_node_that_dies_is_replaced_at_once() -> None:
    supervisor = group(Plan(1, 1), node("n1"), node("n2"))
    supervisor.start()
    up(supervisor, "0.1", ready=False)
    supervisor.saw_nodes([node("n2")], 1.0)
    assert supervisor.died("0.1", DEAD) == [Spawn("0.2", 0.0)]
    assert state(supervisor, "0.2") is WorkerState.STARTING


# -- so many on each node -----------------------------------------------------------------------------


def test_each_node_has_its_number() -> None:
    supervisor = group(Plan(per_node=2), node("n1"), node("n2"))
    places = [supervisor.place(worker) for worker in ids(supervisor.start())]
    assert places == [Place("n1", only=True)] * 2 + [Place("n2", only=True)] * 2


def test_a_node_that_joins_gets_workers_and_one_that_is_lost_has_none() -> None:
    supervisor = group(Plan(per_node=1), node("n1"))
    supervisor.start()
    up(supervisor, "0.1")
    assert ids(supervisor.saw_nodes([node("n1"), node("n2")], 1.0)) == ["1.2"]
    assert supervisor.saw_nodes([node("n1"), node("n2")], 2.0) == []
    up(supervisor, "1.2")
    assert supervisor.saw_nodes([node("n1")], 3.0) == [], "that its worker is dead is told by itself"
    assert supervisor.died("1.2", DEAD) == []
    assert workers(supervisor) == {"0.1": "n1"}
    assert ids(supervisor.saw_nodes([node("n1"), node("n3")], 4.0)) == ["1.3"]


def test_a_worker_that_dies_is_replaced_on_its_own_node() -> None:
    supervisor = group(Plan(per_node=1), node("n1"), node("n2"))
    supervisor.start()
    up(supervisor, "0.1")
    assert supervisor.died("0.1", DEAD) == [Spawn("0.3", 0.0)]
    assert supervisor.place("0.3") == Place("n1", only=True)


def test_a_worker_whose_node_left_before_it_could_start_is_not_wanted() -> None:
    supervisor = group(Plan(per_node=1), node("n1"), node("n2"))
    supervisor.start()
    supervisor.saw_nodes([node("n1")], 1.0)
    assert supervisor.place("1.2") is None
    assert list(workers(supervisor)) == ["0.1"]


def test_after_a_restart_nothing_is_added_before_it_is_known_where_the_old_ones_live() -> None:
    supervisor = group(Plan(per_node=1), node("n1"), node("n2"))
    supervisor.adopted(0, "0.old")
    supervisor.adopted(1, "1.old")
    assert supervisor.start() == [Spawn("0.old"), Spawn("1.old")]
    assert supervisor.saw_nodes([node("n1"), node("n2")], 1.0) == []
    assert supervisor.spawned("1.old", "n2", 7, {}, 3) == []
    [fresh] = ids(supervisor.died("0.old", DEAD))
    assert supervisor.place(fresh) == Place("n1", only=True)


# -- draining -----------------------------------------------------------------------------------------


def test_the_workers_of_a_node_that_drains_are_retired_and_replaced_elsewhere() -> None:
    supervisor = group(Plan(2, 2, demand=CPU), node("n1"), node("n2"))
    for worker in ids(supervisor.start()):
        up(supervisor, worker)
    draining = [node("n1", leaves_at=130.0), node("n2")]
    assert supervisor.saw_nodes(draining, 100.0) == [Retire("0.1", 30.0), Spawn("2.3")]
    assert supervisor.saw_nodes(draining, 101.0) == [], "once is enough"
    assert place(supervisor, "2.3") == "n2"
    assert [(view.ref.id, view.state, view.ready) for view in supervisor.views() if view.ref.id == "0.1"] == [
        ("0.1", WorkerState.DRAINING, False)
    ]
    assert supervisor.died("0.1", DEAD) == [], "it has been replaced already"
    assert set(workers(supervisor)) == {"1.2", "2.3"}


def test_a_drain_without_a_time_lets_jobs_take_theirs_and_one_that_is_late_none() -> None:
    for leaves_at, within_s in ((math.inf, math.inf), (90.0, 0.0)):
        supervisor = group(Plan(1, 1), node("n1"))
        supervisor.start()
        up(supervisor, "0.1")
        assert supervisor.saw_nodes([node("n1", leaves_at=leaves_at), node("n2")], 100.0)[0] == Retire("0.1", within_s)


def test_a_daemon_of_a_node_that_drains_is_not_replaced() -> None:
    supervisor = group(Plan(per_node=1), node("n1"), node("n2"))
    for worker in ids(supervisor.start()):
        up(supervisor, worker)
    assert supervisor.saw_nodes([node("n1", leaves_at=9.0), node("n2")], 0.0) == [Retire("0.1", 9.0)]
    supervisor.died("0.1", DEAD)
    assert workers(supervisor) == {"1.2": "n2"}
    assert ids(supervisor.saw_nodes([node("n1"), node("n2")], 1.0)) == ["0.3"], "the drain was called off"


def test_a_worker_that_an_earlier_process_of_the_group_was_to_end_is_let_go_and_replaced() -> None:
    supervisor = group(Plan(1, 1), node("n1"))
    supervisor.adopted(0, "0.old")
    supervisor.start()
    assert supervisor.stranded("0.old") == supervisor.stranded("0.other") == [], "it has yet to say that it is there"
    up(supervisor, "0.old")
    assert supervisor.stranded("0.old") == [Retire("0.old", math.inf), Spawn("1.1")]
    assert supervisor.stranded("0.old") == [], "once is enough"
    up(supervisor, "1.1")
    supervisor.stopping()
    assert supervisor.stranded("1.1") == []


def test_workers_that_drain_are_among_those_that_a_stop_ends() -> None:
    supervisor = group(Plan(1, 1), node("n1"))
    supervisor.start()
    up(supervisor, "0.1")
    supervisor.saw_nodes([node("n1", leaves_at=9.0), node("n2")], 0.0)
    assert sorted(supervisor.stopping()) == ["0.1", "1.2"]
    assert supervisor.saw_nodes([node("n3")], 1.0) == []


def test_those_that_drained_and_came_back_after_a_restart_are_not_replaced_twice() -> None:
    supervisor = group(Plan(1, 1), node("n1", leaves_at=9.0), node("n2"))
    supervisor.adopted(0, "0.old")
    supervisor.adopted(1, "1.old")  # the replacement
    supervisor.start()
    supervisor.spawned("0.old", "n1", 7, {}, 1)
    supervisor.spawned("1.old", "n2", 8, {}, 1)
    assert supervisor.saw_nodes([node("n1", leaves_at=9.0), node("n2")], 0.0) == [Retire("0.old", 9.0)]


# -- load ---------------------------------------------------------------------------------------------

ELASTIC = Plan(1, 4, demand=CPU, idle_timeout_s=10.0)


def elastic(ready: int = 1) -> Supervisor:
    """A group that has grown to so many ready workers."""
    supervisor = group(ELASTIC, node("n1"))
    started = ids(supervisor.start())
    started += ids(supervisor.saw_load(ready, {}, 0.0))
    for worker in started[:ready]:
        up(supervisor, worker)
    return supervisor


def test_it_grows_by_as_many_as_jobs_wait_for() -> None:
    supervisor = group(ELASTIC, node("n1"))
    assert len(supervisor.start()) == 1
    assert supervisor.saw_load(1, {}, 0.0) == [], "the one that starts will have it"
    assert ids(supervisor.saw_load(3, {}, 0.0)) == ["1.2", "2.3"]
    assert supervisor.saw_load(3, {}, 0.5) == []
    assert ids(supervisor.saw_load(100, {}, 1.0)) == ["3.4"]
    assert supervisor.saw_load(100, {}, 1.5) == [], "four are the most"


def test_idle_workers_will_have_the_jobs_that_wait() -> None:
    supervisor = elastic(2)
    assert supervisor.saw_load(1, {"0.1": 0}, 1.0) == []
    assert len(supervisor.saw_load(2, {"0.1": 0}, 1.0)) == 1


def test_it_shrinks_to_the_least_when_workers_have_been_idle_for_long_enough() -> None:
    supervisor = elastic(3)
    idle = {"0.1": 5, "1.2": 5, "2.3": 5}
    assert supervisor.saw_load(0, {"1.2": 5}, 99.0) == []
    assert supervisor.saw_load(0, idle, 100.0) == []
    assert supervisor.saw_load(0, idle, 108.9) == []
    assert supervisor.saw_load(0, idle, 109.0) == [Dismiss("1.2")], "the others have been idle for a second less"
    assert supervisor.saw_load(0, idle, 110.0) == [Dismiss("1.2"), Dismiss("0.1")], "one stays"
    assert supervisor.dismissed("1.2") == [Kill("1.2")]
    assert supervisor.died("1.2", DEAD) == []
    assert supervisor.saw_load(0, idle, 111.0) == [Dismiss("0.1")]


def test_a_job_in_between_counts_as_work() -> None:
    supervisor = elastic(2)
    supervisor.saw_load(0, {"0.1": 5, "1.2": 5}, 100.0)
    supervisor.saw_load(0, {"0.1": 6, "1.2": 6}, 105.0)
    assert supervisor.saw_load(0, {"0.1": 6, "1.2": 6}, 112.0) == []
    assert supervisor.saw_load(0, {"0.1": 6}, 115.0) == [Dismiss("0.1")]
    assert supervisor.saw_load(0, {"0.1": 6, "1.2": 6}, 116.0) == [Dismiss("0.1")], "the other was busy a second ago"


def test_while_jobs_wait_nobody_is_let_go() -> None:
    supervisor = elastic(2)
    supervisor.saw_load(0, {"0.1": 5, "1.2": 5}, 100.0)
    assert supervisor.saw_load(2, {"0.1": 5, "1.2": 5}, 200.0) == []


def test_workers_without_room_are_given_up_when_nothing_waits_for_them() -> None:
    supervisor = elastic(1)
    [fresh] = ids(supervisor.saw_load(1, {}, 1.0))
    assert supervisor.place(fresh) is not None
    for now in (1.0, 2.0):
        supervisor.saw_nodes([node("n1", free=0.0)], now)
    assert state(supervisor, fresh) is WorkerState.PENDING
    assert supervisor.saw_load(1, {}, 3.0) == []
    assert supervisor.saw_load(0, {"0.1": 1}, 4.0) == [Kill(fresh)]
    assert list(workers(supervisor)) == ["0.1"]


def test_a_surplus_is_let_go_as_soon_as_it_is_idle() -> None:
    supervisor = group(Plan(1, 1), node("n1"))
    assert not supervisor.follows_load
    for number in range(3):
        supervisor.adopted(number, f"{number}.old")
    supervisor.start()
    for number in range(3):
        supervisor.spawned(f"{number}.old", "n1", number, {}, 1)
    assert supervisor.follows_load
    assert supervisor.saw_load(0, {"2.old": 0}, 0.0) == [Dismiss("2.old")]
    assert supervisor.died("2.old", DEAD) == []
    assert supervisor.died("1.old", DEAD) == []
    assert supervisor.died("0.old", DEAD) == [Spawn("0.1", 0.0)]


def test_a_group_of_one_size_does_not_shrink() -> None:
    supervisor = group(Plan(2, 2), node("n1"))
    for worker in ids(supervisor.start()):
        up(supervisor, worker)
    assert supervisor.saw_load(0, {"0.1": 1, "1.2": 1}, 0.0) == []
    assert supervisor.saw_load(0, {"0.1": 1, "1.2": 1}, 1e9) == []
    assert supervisor.saw_load(50, {}, 1e9) == []


def test_once_stopping_load_changes_nothing() -> None:
    supervisor = elastic(2)
    supervisor.stopping()
    assert supervisor.saw_load(9, {}, 1.0) == []
    assert supervisor.saw_load(0, {"0.1": 1, "1.2": 1}, 1e9) == []


# -- silence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("computed_s", "actions"), [(0.0, [Fence("0.1")]), (1.49, [Fence("0.1")]), (1.5, []), (30.0, []), (math.inf, [])])
def test_a_worker_that_neither_answers_nor_computes_is_given_up(computed_s: float, actions: list[Action]) -> None:
    supervisor = group(Plan(1, 1), node("n1"))
    supervisor.start()
    up(supervisor, "0.1")
    assert supervisor.unheard("0.1", 30.0, computed_s) == actions


def test_a_worker_that_makes_its_state_may_be_silent() -> None:
    supervisor = group(Plan(1, 1), node("n1"))
    supervisor.start()
    up(supervisor, "0.1", ready=False)
    assert supervisor.unheard("0.1", 30.0, 0.0) == [], "init_timeout_s has an eye on it"
    supervisor.initialised("0.1", 1)
    assert supervisor.spoilt("0.1", 1) == [Init("0.1", 2)]
    assert supervisor.unheard("0.1", 30.0, 0.0) == []
