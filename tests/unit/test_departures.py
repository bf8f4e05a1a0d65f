"""How workers leave a group."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from honeydew_ray.actors import groups
from honeydew_ray.departures import Departures
from honeydew_ray.errors import HoneydewError
from honeydew_ray.staffing import Retire


class Group:
    """Notes in order what is asked of the queue, which answers ``answer``, and what is done."""

    def __init__(self, answer: Any) -> None:
        self.done: list[Any] = []
        self._answer = answer
        self.departures = Departures("g1", self._ask, lambda worker: self.done.append(("kill", worker)),
                                     lambda worker: self.done.append(("dismissed", worker)))

    async def _ask(self, *call: Any) -> Any:
        self.done.append(call)
        return self._answer

    async def end(self) -> None:
        self.done.append("end")


@pytest.mark.parametrize(("within_s", "asked_s"), [(30.0, 29.0), (0.5, 0.0), (math.inf, None)])
def test_a_worker_whose_node_leaves_is_killed_when_the_queue_has_let_go_of_it_in_time(within_s: float, asked_s: float | None) -> None:
    group = Group(None)
    asyncio.run(group.departures.let_go(Retire("w", within_s)))
    assert group.done == [("retire", ["w"], "g1", asked_s), ("kill", "w")]


@pytest.mark.parametrize(("answer", "then"), [(["w"], [("dismissed", "w")]), ([], []), (None, [])])
def test_only_a_worker_that_has_no_job_in_hand_is_dismissed(answer: Any, then: list[Any]) -> None:
    group = Group(answer)
    asyncio.run(group.departures.dismiss("w"))
    assert group.done == [("dismiss", ["w"], "g1"), *then]


@pytest.mark.parametrize(("answer", "then"), [(True, []), (False, ["end"]), (None, ["end"])])
def test_a_silent_worker_is_ended_by_the_group_unless_the_queue_does_it(answer: Any, then: list[Any]) -> None:
    group = Group(answer)
    asyncio.run(group.departures.fence("w", group.end))
    assert group.done == [("fence", "w", "g1"), *then]


class Actor:
    class stop:
        @staticmethod
        def remote() -> None: ...


def test_a_group_that_could_not_end_its_workers_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else knows its workers, which would live on, and hold their resources, for ever."""
    fault, ended = RayTaskError("stop", "Traceback ...\nOSError: the head node is away", OSError("the head node is away")), list[str]()

    def get(_: Any) -> Any:
        raise fault

    monkeypatch.setattr(groups.ray, "get", get)
    monkeypatch.setattr(groups.cluster, "end_actor", lambda _, name: ended.append(name))
    with pytest.raises(HoneydewError, match=r"group 'default' of queue 'photos' could not all be ended.*the head node is away"):
        groups.stop(Actor, "photos", "default")
    assert ended == []
    monkeypatch.setattr(groups.ray, "get", lambda _: None)
    groups.stop(Actor, "photos", "default")
    assert ended == ["workers/photos/default"]
