"""Commands in line, one batch at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from honeydew_ray.mailbox import Mailbox
from honeydew_ray.testing.virtual_time import settle
from tests.unit.harness import now, virtual


class Desk:
    """Handlers that note what they do and never overlap."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.done: list[tuple[str, list[Any]]] = []
        self.rounds = 0
        self._at_work = False
        self.box = Mailbox(self._after)

    async def red(self, items: list[Any]) -> None:
        await self._handle("red", items)

    async def blue(self, items: list[Any]) -> None:
        await self._handle("blue", items)

    async def _after(self) -> None:
        assert not self._at_work
        self.rounds += 1

    async def _handle(self, name: str, items: list[Any]) -> None:
        assert not self._at_work, "two batches at once"
        self._at_work = True
        try:
            await asyncio.sleep(self.takes_s)
            if "bad" in items:
                raise RuntimeError("bad")
            self.done.append((name, items))
        finally:
            self._at_work = False


@virtual
async def test_into_an_empty_line_a_command_is_handled_on_the_spot() -> None:
    desk = Desk()
    await desk.box.put(desk.red, 1)
    assert desk.done == [("red", [1])]
    assert desk.rounds == 1


@virtual
async def test_neighbours_of_a_kind_form_a_batch_and_the_order_stays() -> None:
    desk = Desk(1.0)
    arrivals = [(desk.red, 1), (desk.red, 2), (desk.red, 3), (desk.blue, 4), (desk.red, 5), (desk.red, 6)]
    await asyncio.gather(*(desk.box.put(handler, item) for handler, item in arrivals))
    await asyncio.sleep(10)
    assert desk.done == [("red", [1]), ("red", [2, 3]), ("blue", [4]), ("red", [5, 6])]
    assert desk.rounds == 4


@virtual
async def test_others_commands_do_not_delay_the_return() -> None:
    desk = Desk(1.0)
    first = asyncio.ensure_future(desk.box.put(desk.red, 1))
    await settle()
    await desk.box.put(desk.blue, 2)
    desk.box.post(desk.red, 3)
    await first
    assert now() == pytest.approx(1.0, abs=1e-5)
    assert desk.done == [("red", [1])]
    await asyncio.sleep(3)
    assert desk.done == [("red", [1]), ("blue", [2]), ("red", [3])]


@virtual
async def test_what_is_posted_is_handled_soon() -> None:
    desk = Desk()
    desk.box.post(desk.red, 1)
    desk.box.post(desk.red, 2)
    assert desk.done == []
    await settle()
    assert desk.done == [("red", [1, 2])]


@virtual
async def test_a_question_gets_its_own_answer_or_its_own_error() -> None:
    desk = Desk()

    async def answer(value: int) -> int:
        await asyncio.sleep(1)
        if value == 2:
            raise KeyError(value)
        return value

    results = await asyncio.gather(*(desk.box.ask(lambda value=value: answer(value)) for value in (1, 2, 3)), return_exceptions=True)
    assert results[0] == 1
    assert isinstance(results[1], KeyError)
    assert results[2] == 3
    assert now() == pytest.approx(3.0)


@virtual
async def test_a_handler_that_raises_is_its_callers_trouble_and_those_behind_go_on() -> None:
    desk = Desk(1.0)
    bad = asyncio.ensure_future(desk.box.put(desk.red, "bad"))
    await settle()
    await desk.box.put(desk.blue, 1)
    with pytest.raises(RuntimeError, match="bad"):
        await bad
    await asyncio.sleep(2)
    assert desk.done == [("blue", [1])]


@virtual
async def test_a_handler_that_raises_in_the_background_is_logged_and_those_behind_go_on(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.box.post(desk.red, "bad")
    desk.box.post(desk.blue, 1)
    await settle()
    assert desk.done == [("blue", [1])]
    assert "a command of the queue failed" in caplog.text


@virtual
async def test_a_caller_that_leaves_does_not_stop_the_line() -> None:
    desk = Desk(1.0)
    leaving = asyncio.ensure_future(desk.box.put(desk.red, 1))
    await settle()
    behind = asyncio.ensure_future(desk.box.ask(lambda: asyncio.sleep(1, "here")))
    asked = asyncio.ensure_future(desk.box.ask(lambda: asyncio.sleep(1, "gone")))
    await asyncio.sleep(0.5)
    leaving.cancel()
    asked.cancel()
    assert await behind == "here"
    assert await desk.box.ask(lambda: asyncio.sleep(1, "later")) == "later"
