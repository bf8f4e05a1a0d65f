"""Running jobs on a worker's event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from honeydew_ray.actors.runner import LoopRunner, Stopped
from honeydew_ray.job import Token
from honeydew_ray.running_job import RunningJob

TOKEN = Token("job", 1, "incarnation")


def job() -> RunningJob:
    return RunningJob(None, lambda value: None)


def test_a_job_that_is_stopped_is_over_only_when_it_has_ended() -> None:
    runner, begun, ended = LoopRunner(), threading.Event(), threading.Event()

    async def stubborn() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            ended.set()
            raise

    with ThreadPoolExecutor() as pool:
        running = pool.submit(runner.run, TOKEN, job(), stubborn)
        begun.wait()
        assert runner.stop(TOKEN)
        with pytest.raises(Stopped):
            running.result(timeout=30)
    assert ended.is_set()
    assert not runner.stop(TOKEN)


def test_a_job_that_is_stopped_before_it_begins_never_does() -> None:
    runner, held, begun = LoopRunner(), threading.Event(), threading.Event()

    def hold_up() -> None:
        held.set()
        time.sleep(0.3)

    async def late() -> None:
        begun.set()

    with ThreadPoolExecutor() as pool:
        making = pool.submit(runner.make, hold_up)
        held.wait()
        running = pool.submit(runner.run, TOKEN, job(), late)
        while not runner.stop(TOKEN):
            time.sleep(0.001)
        with pytest.raises(Stopped):
            running.result(timeout=30)
        making.result()
    assert not begun.is_set()


def test_one_that_swallows_the_stop_has_its_value_and_one_that_raises_its_error() -> None:
    runner, begun = LoopRunner(), threading.Event()

    async def goes_on() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "went on"
        return "was not stopped"

    async def fails() -> Any:
        raise ValueError("on purpose")

    with ThreadPoolExecutor() as pool:
        running = pool.submit(runner.run, TOKEN, job(), goes_on)
        begun.wait()
        runner.stop(TOKEN)
        assert running.result(timeout=30) == "went on"
    with pytest.raises(ValueError, match="on purpose"):
        runner.run(TOKEN, job(), fails)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_would_end_a_program_ends_only_the_job_that_raises_it(error: BaseException) -> None:
    runner = LoopRunner()

    async def leave() -> None:
        raise error

    async def have_another_leave() -> str:
        other = asyncio.ensure_future(leave())
        await asyncio.wait([other])
        return f"{type(other.exception()).__name__} of another"

    def leave_at_once() -> None:
        raise error

    expected = type(error).__name__
    assert _ended(lambda: runner.make(leave_at_once)) == expected
    assert _ended(lambda: runner.run(TOKEN, job(), leave)) == expected
    assert _ended(lambda: runner.run(TOKEN, job(), leave_at_once)) == expected
    assert _ended(lambda: runner.run(TOKEN, job(), have_another_leave)) == f"{expected} of another"


def _ended(call: Callable[[], Any]) -> Any:
    """What a call returns, or the name of what it raises; None if it never ends."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            found.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return found[0] if found else None
