"""An hour's sleep takes microseconds, in the right order, and a knot is noticed."""

from __future__ import annotations

import asyncio
import time

import pytest

from honeydew_ray.testing.virtual_time import EPOCH, DeadlockError, VirtualClock, run_virtual, settle


async def now() -> float:
    return asyncio.get_running_loop().time()


def test_time_passes_only_in_sleep_and_costs_nothing() -> None:
    async def work() -> float:
        for _ in range(100):
            await asyncio.sleep(3600)
        return await now()

    begun = time.monotonic()
    assert run_virtual(work()) == pytest.approx(360_000)
    assert time.monotonic() - begun < 5


def test_timers_go_off_in_order_at_their_very_times() -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, await now()))

    async def work() -> None:
        await asyncio.gather(sleeper("c", 3), sleeper("a", 1), sleeper("b", 2.5), sleeper("again", 2.5))

    run_virtual(work())
    assert seen == [("a", 1.0), ("b", 2.5), ("again", 2.5), ("c", 3.0)]


def test_each_run_begins_anew() -> None:
    assert run_virtual(now()) == run_virtual(now()) == 0.0


def test_timeouts_work() -> None:
    async def work() -> float:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        return await now()

    assert run_virtual(work()) == 5.0


def test_what_can_never_end_is_an_error_not_a_hang() -> None:
    async def knot() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="nothing is left to do"):
        run_virtual(knot())


def test_what_is_left_running_is_cancelled() -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def work() -> object:
        task = asyncio.ensure_future(background())
        await settle()
        return task

    run_virtual(work())
    assert ended == ["cancelled"]


def test_an_error_is_the_callers() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_virtual(fail())


def test_an_error_that_nobody_waited_for_is_the_callers_too() -> None:
    async def fail() -> None:
        raise KeyError("unheard")

    async def forget() -> None:
        task = asyncio.ensure_future(fail())
        await settle()
        del task

    def burst() -> None:
        raise KeyError("unheard")

    async def timer() -> None:
        asyncio.get_running_loop().call_later(1, burst)
        await asyncio.sleep(2)

    for work in (forget, timer):
        with pytest.raises(KeyError, match="unheard"):
            run_virtual(work())


def test_settle_returns_when_nothing_can_go_on() -> None:
    steps: list[int] = []

    async def walk() -> None:
        for step in range(100):
            steps.append(step)
            await asyncio.sleep(0)

    async def work() -> float:
        task = asyncio.ensure_future(walk())
        await settle()
        assert task.done()
        return await now()

    assert run_virtual(work()) < 1e-3
    assert len(steps) == 100


def test_the_wall_clock_follows_the_loop_and_jumps_when_told() -> None:
    clock = VirtualClock()

    async def work() -> list[float]:
        times = [clock.now()]
        await asyncio.sleep(10)
        times.append(clock.now())
        clock.jump(-3600)
        times.append(clock.now())
        return times

    assert run_virtual(work()) == [EPOCH, EPOCH + 10, EPOCH + 10 - 3600]
