"""The shared loop: processes that stop at a step, and the world that goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.simulation.cluster import Actor, ActorDied, ActorUnavailable, Cluster
from tests.simulation.history import History
from tests.simulation.loop import Process, ProcessEnded, SharedLoop, start_in

Play = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def play() -> Iterator[Play]:
    loop = SharedLoop()
    yield loop.run_until_complete
    loop.end()


async def count(seen: list[int]) -> None:
    for number in range(100):
        seen.append(number)
        await asyncio.sleep(1.0)


def test_a_killed_process_makes_no_further_step_and_none_of_its_code_is_told(play: Play) -> None:
    seen: list[int] = []
    told: list[str] = []

    async def live() -> None:
        try:
            await count(seen)
        finally:
            told.append("the end")

    async def world() -> None:
        process = Process("p", "n1")
        start_in(process, live())
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(10)
        assert seen == [0, 1, 2]
        assert told == []

    play(world())


def test_a_process_dies_before_the_step_that_is_named(play: Play) -> None:
    seen: list[int] = []

    async def world() -> None:
        process = Process("p", "n1")
        process.dies_at = 3
        start_in(process, count(seen))
        await asyncio.sleep(10)
        assert process.dead
        assert seen == [0]  # its second step only woke the third

    play(world())


def test_a_paused_process_makes_its_steps_later_and_in_order(play: Play) -> None:
    seen: list[str] = []

    async def note(name: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        seen.append(name)

    async def world() -> None:
        process = Process("p", "n1")
        for name, after_s in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
            start_in(process, note(name, after_s))
        await asyncio.sleep(0.5)
        process.pause()
        await asyncio.sleep(10)
        assert seen == []
        process.resume()
        await asyncio.sleep(0.1)
        assert seen == ["a", "b", "c"]

    play(world())


def test_a_timer_cancelled_while_its_process_is_paused_does_not_go_off(play: Play) -> None:
    rang: list[str] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: late.cancel())
        late = loop.call_later(2.0, rang.append, "late")
        await asyncio.sleep(5.0)

    async def world() -> None:
        process = Process("p", "n1")
        start_in(process, live())
        await asyncio.sleep(0.5)
        process.pause()
        await asyncio.sleep(3.0)
        process.resume()
        await asyncio.sleep(10)
        assert rang == []

    play(world())


def test_a_process_that_ends_itself_goes_no_further(play: Play) -> None:
    seen: list[str] = []

    async def live(process: Process) -> None:
        seen.append("before")
        process.exit()
        seen.append("after")

    async def world() -> None:
        process = Process("p", "n1")
        start_in(process, live(process))
        await asyncio.sleep(1)
        assert seen == ["before"]
        assert process.dead

    play(world())


def test_process_ended_is_not_caught_by_code_that_catches_exceptions() -> None:
    assert not issubclass(ProcessEnded, Exception)


class Echo:
    """An actor that answers after a while."""

    def __init__(self) -> None:
        self.asked = 0

    async def echo(self, value: str) -> str:
        self.asked += 1
        await asyncio.sleep(1.0)
        return value


@pytest.mark.parametrize(("restarts", "error"), [(False, ActorDied), (True, ActorUnavailable)])
def test_a_call_hears_of_the_death_of_its_actor(play: Play, restarts: bool, error: type[Exception]) -> None:
    async def world() -> None:
        cluster = Cluster(random.Random(1), History(), ["n1"])
        actor = Actor("a", lambda process: Echo(), restarts=restarts)
        await cluster.create(actor)
        assert await cluster.call(actor, "echo", "hello") == "hello"
        running = asyncio.ensure_future(cluster.call(actor, "echo", "again"))
        await asyncio.sleep(0.5)
        assert actor.process is not None
        actor.process.kill()
        with pytest.raises(error):
            await running

    play(world())


def test_a_lost_call_may_have_been_executed(play: Play) -> None:
    async def world() -> None:
        cluster = Cluster(random.Random(3), History(), ["n1"])
        actor = Actor("a", lambda process: Echo())
        await cluster.create(actor)
        await asyncio.sleep(1.0)
        cluster.weather.lost = 1.0
        heard = await asyncio.gather(*(cluster.call(actor, "echo", "x") for _ in range(200)), return_exceptions=True)
        lost = [answer for answer in heard if isinstance(answer, ActorUnavailable)]
        assert 0 < 200 - actor.instance.asked < len(lost), "some were lost on their way there, others on their way back"

    play(world())
