"""Which workers a group starts, makes ready, tries again and replaces."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from honeydew_ray.failure import Failure
from honeydew_ray.placement import NodeView, Plan
from honeydew_ray.roster import WorkerView
from honeydew_ray.staffing import Action, Init, Kill, Spawn
from honeydew_ray.status import WorkerState
from honeydew_ray.supervisor import Supervisor

RETRY_S = 5.0
DEAD = Failure("exit", "WorkerDied", "exit code 1")


def supervisor(num: int = 1) -> Supervisor:
    return Supervisor(Plan(num, num, demand={"CPU": 1.0}), RETRY_S, lambda slot, number: f"{slot}.{number}")


def view(group: Supervisor, slot: int = 0) -> WorkerView:
    return group.views()[slot]


def standing(group: Supervisor, slot: int = 0) -> tuple[str, WorkerState, bool, int]:
    """The worker in a slot, its state, whether it is ready, and its epoch."""
    seen = view(group, slot)
    return seen.ref.id, seen.state, seen.ready, seen.epoch


def spawned(group: Supervisor, worker_id: str = "0.1", epoch: int = 0) -> list[Action]:
    return group.spawned(worker_id, "n1", 77, {"zone": "a"}, epoch)


def ready(group: Supervisor, worker_id: str = "0.1") -> Supervisor:
    """The worker is up and has made its first state."""
    group.start()
    assert spawned(group, worker_id) == [Init(worker_id, 1)]
    assert group.initialised(worker_id, 1) == []
    return group


def test_it_fills_every_slot() -> None:
    group = supervisor(3)
    assert group.start() == [Spawn("0.1"), Spawn("1.2"), Spawn("2.3")]
    assert [seen.state for seen in group.views()] == [WorkerState.STARTING] * 3
    assert not any(seen.ready for seen in group.views())


def test_a_worker_comes_up_and_makes_its_state() -> None:
    group = supervisor()
    group.start()
    assert spawned(group) == [Init("0.1", 1)]
    assert standing(group) == ("0.1", WorkerState.STARTING, False, 1)
    assert group.initialised("0.1", 1) == []
    assert standing(group) == ("0.1", WorkerState.IDLE, True, 1)
    assert (view(group).pid, view(group).ref.node, view(group).ref.labels) == (77, "n1", {"zone": "a"})


def test_a_failed_init_is_tried_again_after_the_time_given() -> None:
    group = supervisor()
    group.start()
    spawned(group)
    assert group.init_failed("0.1", 1, "no database", None) == [Init("0.1", 2, RETRY_S)]
    assert standing(group)[1:3] == (WorkerState.FAILED_INIT, False)
    assert view(group).error == "no database"
    assert group.init_failed("0.1", 2, "still none", 0.5) == [Init("0.1", 3, 0.5)], "the class's own init_failed has said when"
    assert group.init_failed("0.1", 3, "still none", 0.0) == [Init("0.1", 4, 0.0)]
    group.initialised("0.1", 4)
    assert standing(group) == ("0.1", WorkerState.IDLE, True, 4)
    assert view(group).error is None


def test_a_worker_that_dies_before_it_was_ready_is_tried_again_later() -> None:
    group = supervisor()
    group.start()
    spawned(group)
    assert group.died("0.1", DEAD) == [Spawn("0.2", RETRY_S)]
    assert standing(group) == ("0.2", WorkerState.FAILED_INIT, False, 0)
    assert "before it was ready" in str(view(group).error)
    assert "exit code 1" in str(view(group).error)


def test_a_worker_that_never_came_up_is_tried_again_later() -> None:
    group = supervisor()
    group.start()
    assert group.died("0.1", DEAD) == [Spawn("0.2", RETRY_S)]
    assert group.died("0.2", DEAD) == [Spawn("0.3", RETRY_S)]


def test_a_worker_that_dies_after_it_was_ready_is_replaced_at_once() -> None:
    group = ready(supervisor())
    assert group.died("0.1", DEAD) == [Spawn("0.2", 0.0)]
    assert standing(group) == ("0.2", WorkerState.STARTING, False, 0)
    assert view(group).error is None
    assert group.died("0.2", DEAD) == [Spawn("0.3", RETRY_S)], "but its successor has yet to be ready once"


def test_only_the_slot_of_the_dead_worker_changes() -> None:
    group = supervisor(2)
    group.start()
    group.spawned("1.2", "n1", 78, {})
    group.initialised("1.2", 1)
    group.died("0.1", DEAD)
    assert standing(group, 0)[0] == "0.3"
    assert standing(group, 1) == ("1.2", WorkerState.IDLE, True, 1)


def test_a_spoilt_state_is_made_anew_at_once() -> None:
    group = ready(supervisor())
    assert group.spoilt("0.1", 1) == [Init("0.1", 2)]
    assert standing(group) == ("0.1", WorkerState.STARTING, False, 2)
    group.initialised("0.1", 2)
    assert standing(group) == ("0.1", WorkerState.IDLE, True, 2)


def test_a_worker_that_dies_while_its_state_is_made_anew_is_replaced_at_once() -> None:
    group = ready(supervisor())
    group.spoilt("0.1", 1)
    assert group.died("0.1", DEAD) == [Spawn("0.2", 0.0)]


def test_an_overdue_init_costs_the_process() -> None:
    group = supervisor()
    group.start()
    spawned(group)
    assert group.init_overdue("0.1", 1, 600.0) == [Kill("0.1")]
    assert group.died("0.1", DEAD) == [Spawn("0.2", RETRY_S)]
    assert "600 s" in str(view(group).error), "the reason shows, not the kill"


def test_an_init_that_came_in_time_is_not_overdue() -> None:
    group = ready(supervisor())
    assert group.init_overdue("0.1", 1, 600.0) == []
    group.spoilt("0.1", 1)
    assert group.init_overdue("0.1", 1, 600.0) == [], "of the first init; the second runs"
    assert group.init_overdue("0.1", 2, 600.0) == [Kill("0.1")]


def test_a_worker_without_room_is_pending_until_there_is() -> None:
    group = supervisor()
    group.start()
    full, free = [NodeView("n1", total={"CPU": 1.0})], [NodeView("n1", total={"CPU": 1.0}, free={"CPU": 1.0})]
    group.saw_nodes(full, 0.0)
    assert group.place("0.1") is not None
    group.saw_nodes(full, 1.0)
    assert view(group).state is WorkerState.STARTING, "it may have taken the room itself, just now"
    group.saw_nodes(full, 2.0)
    assert view(group).state is WorkerState.PENDING
    assert group.saw_nodes(free, 3.0) == [], "its process was asked for already"
    assert view(group).state is WorkerState.STARTING
    group.saw_nodes(full, 4.0)
    spawned(group)
    assert view(group).state is WorkerState.STARTING
    group.initialised("0.1", 1)
    group.saw_nodes(full, 5.0)
    assert view(group).state is WorkerState.IDLE, "it has its room"


@pytest.mark.parametrize("epoch", [0, 4])
def test_a_worker_that_outlived_the_groups_process_is_taken_over(epoch: int) -> None:
    group = supervisor(2)
    group.adopted(1, "1.old")
    assert group.start() == [Spawn("0.1"), Spawn("1.old")]
    actions = group.spawned("1.old", "n2", 5, {}, epoch)
    assert actions == ([] if epoch else [Init("1.old", 1)])
    assert standing(group, 1) == (("1.old", WorkerState.IDLE, True, 4) if epoch else ("1.old", WorkerState.STARTING, False, 1))


def test_an_adopted_worker_that_was_called_spoilt_before_it_had_said_what_it_holds_makes_its_state_anew() -> None:
    group = supervisor()
    group.adopted(0, "0.old")
    group.start()
    assert group.spoilt("0.old", 4) == []
    assert group.spawned("0.old", "n2", 5, {}, 4) == [Init("0.old", 5)]
    assert standing(group) == ("0.old", WorkerState.STARTING, False, 5)


def test_an_adopted_worker_that_has_made_its_state_anew_since_it_was_called_spoilt_is_ready() -> None:
    group = supervisor()
    group.adopted(0, "0.old")
    group.start()
    group.spoilt("0.old", 4)
    assert group.spawned("0.old", "n2", 5, {}, 5) == []
    assert standing(group) == ("0.old", WorkerState.IDLE, True, 5)


def test_an_adopted_worker_that_is_spoilt_and_dies_is_treated_as_any_other() -> None:
    group = supervisor()
    group.adopted(0, "0.old")
    group.start()
    group.spawned("0.old", "n2", 5, {}, 4)
    assert group.spoilt("0.old", 4) == [Init("0.old", 5)]
    assert group.died("0.old", DEAD) == [Spawn("0.1", 0.0)]


def test_once_stopping_nothing_is_started_any_more() -> None:
    group = supervisor(3)
    group.start()
    spawned(group)
    group.initialised("0.1", 1)
    assert group.stopping() == ["0.1", "1.2", "2.3"]
    assert group.died("0.1", DEAD) == []
    assert group.died("1.2", DEAD) == []
    assert group.spawned("2.3", "n1", 9, {}) == [Kill("2.3")], "it was on its way"


EVENTS: dict[str, Callable[[Supervisor, str, int], list[Action]]] = {
    "spawned": lambda group, worker_id, _: group.spawned(worker_id, "n9", 99, {}),
    "initialised": lambda group, worker_id, epoch: group.initialised(worker_id, epoch),
    "init_failed": lambda group, worker_id, epoch: group.init_failed(worker_id, epoch, "late", None),
    "init_overdue": lambda group, worker_id, epoch: group.init_overdue(worker_id, epoch, 1.0),
    "spoilt": lambda group, worker_id, epoch: group.spoilt(worker_id, epoch),
    "died": lambda group, worker_id, _: group.died(worker_id, DEAD),
    "unheard": lambda group, worker_id, _: group.unheard(worker_id, 30.0, 30.0),
}


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_of_a_worker_that_was_replaced_changes_nothing(event: str) -> None:
    group = ready(supervisor())
    group.died("0.1", DEAD)
    before = group.views()
    assert EVENTS[event](group, "0.1", 1) == ([Kill("0.1")] if event == "spawned" else [])
    assert group.views() == before


@pytest.mark.parametrize("event", ["initialised", "init_failed", "init_overdue", "spoilt"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_event_of_another_epoch_changes_nothing(event: str, epoch: int) -> None:
    group = ready(supervisor())
    group.spoilt("0.1", 1)
    group.initialised("0.1", 2)
    before = group.views()
    assert EVENTS[event](group, "0.1", epoch) == []
    assert group.views() == before


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("stage", ["starting", "initialising", "ready", "spoilt"])
def test_any_event_told_twice_is_the_same_as_once(event: str, stage: str) -> None:
    group = supervisor()
    group.start()
    epoch = 1
    if stage != "starting":
        spawned(group)
    if stage in ("ready", "spoilt"):
        group.initialised("0.1", 1)
    if stage == "spoilt":
        group.spoilt("0.1", 1)
        epoch = 2
    EVENTS[event](group, "0.1", epoch)
    after_one = group.views()
    again = EVENTS[event](group, "0.1", epoch)
    assert group.views() == after_one
    assert all(isinstance(action, Kill) for action in again), "nothing is started twice"
