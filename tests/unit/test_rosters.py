"""What groups have told of their workers, in whatever order their words came."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.roster import Roster, WorkerView
from honeydew_ray.rosters import Rosters
from honeydew_ray.status import WorkerState


def view(worker_id: str, ready: bool = True) -> WorkerView:
    return WorkerView(WorkerRef(worker_id, "n1"), WorkerState.IDLE, ready, epoch=1)


def roster(serial: int, *worker_ids: str, group: str = "default", incarnation: str = "g1", **facts: object) -> Roster:
    return Roster(group, incarnation, serial, tuple(map(view, worker_ids)), **facts)  # type: ignore[arg-type]


def told(*words: Roster) -> Rosters:
    rosters = Rosters()
    for word in words:
        rosters.take(word)
    return rosters


def ids(views: Iterable[WorkerView] | None) -> list[str] | None:
    return None if views is None else [view.ref.id for view in views]


def stranded(rosters: Rosters) -> list[str]:
    return [view.ref.id for _, view in rosters.stranded()]


def test_a_newer_roster_tells_who_is_there_no_more() -> None:
    rosters = Rosters()
    assert ids(rosters.take(roster(1, "a", "b"))) == []
    assert ids(rosters.take(roster(2, "b", "c"))) == ["a"]
    assert ids(rosters.of("default")) == ["b", "c"]
    assert ids(rosters.of("gpu")) == []
    assert rosters.find("a") is None
    assert rosters.find("c") == (roster(2, "b", "c"), view("c"))


@pytest.mark.parametrize("serial", [1, 2])
def test_an_older_one_or_the_same_again_changes_nothing(serial: int) -> None:
    rosters = told(roster(2, "a"))
    assert rosters.take(roster(serial, "b")) is None
    assert list(rosters) == [roster(2, "a")]


def test_a_groups_next_process_counts_from_one_again_and_the_one_before_is_heard_no_more() -> None:
    rosters = told(roster(9, "a"))
    assert ids(rosters.take(roster(1, "b", incarnation="g2"))) == ["a"]
    assert rosters.take(roster(10, "a")) is None
    assert list(rosters) == [roster(1, "b", incarnation="g2")]


def test_a_group_that_was_removed_is_heard_again_under_another_process_only() -> None:
    rosters = told(roster(1, "a"), roster(1, "x", group="gpu"))
    assert ids(rosters.remove("gpu")) == ["x"]
    assert ids(rosters.remove("gpu")) == []
    assert rosters.take(roster(2, "x", group="gpu")) is None
    assert ids(rosters.take(roster(1, "y", group="gpu", incarnation="g2"))) == []
    assert ids(rosters.of("default")) == ["a"]


def test_a_worker_is_barred_until_its_group_has_it_no_more() -> None:
    rosters = told(roster(1, "a", "b"))
    rosters.bar("a", "g1")
    rosters.take(roster(2, "a", "b"))
    assert (rosters.is_barred("a"), rosters.is_barred("b")) == (True, False)
    rosters.take(roster(3, "b"))
    assert not rosters.is_barred("a")


def test_the_memory_of_barred_workers_that_nobody_told_of_ends_with_their_group() -> None:
    rosters = told(roster(1, "a"), roster(1, "x", group="gpu", incarnation="h1"))
    rosters.bar("late", "g1")
    rosters.take(roster(1, "a", incarnation="g2"))
    rosters.bar("later", "g2")
    rosters.bar("elsewhere", "h1")
    rosters.remove("default")
    assert [one for one in ("late", "later", "elsewhere") if rosters.is_barred(one)] == ["elsewhere"]


def test_a_worker_is_stranded_if_who_was_to_end_it_is_another_process_than_tells_of_it_now() -> None:
    rosters = told(roster(1, "a", "b"))
    rosters.bar("a", "g1")
    assert stranded(rosters) == []
    rosters.take(roster(1, "a", "b", incarnation="g2"))
    assert stranded(rosters) == ["a"]
    rosters.bar("a", "g2")
    assert stranded(rosters) == []


def test_one_that_is_not_ready_is_not_stranded() -> None:
    rosters = told(Roster("default", "g2", 1, (view("a", ready=False),)))
    rosters.bar("a", "g1")
    assert stranded(rosters) == []


def test_which_methods_there_are() -> None:
    rosters = Rosters()
    assert rosters.run_method("work") is None
    rosters.take(roster(1, methods=frozenset({"work"}), class_name="Worker"))
    assert rosters.run_method("work") is True
    assert rosters.run_method("play") is False
    rosters.take(roster(1, group="plain"))
    assert rosters.run_method("play") is False
    assert rosters.classes() == ["Worker", "plain functions"]
    rosters.take(roster(1, group="any", methods=None, class_name="Proxy"))
    assert rosters.run_method("play") is True
