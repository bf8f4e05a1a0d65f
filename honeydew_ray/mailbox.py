"""A queue's commands in line: each finishes before the next starts, and neighbours of a kind go as one batch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

log = logging.getLogger("honeydew_ray")
T = TypeVar("T")
Handler = Callable[[list[Any]], Awaitable[None]]


class Mailbox:
    """Commands in order of arrival. What arrives while one is handled forms the next batch.

    Who puts a command into an empty line handles it on the spot, with no detour through the event
    loop; with a store that never waits that is most of them. Invariant: one batch at a time, and
    after each the ``after_batch`` of the queue, during which the next must wait too.
    """

    def __init__(self, after_batch: Callable[[], Awaitable[None]]) -> None:
        self._after_batch = after_batch
        self._line: deque[tuple[Handler, Any]] = deque()
        self._busy = False
        self._rest: asyncio.Task[None] | None = None

    async def put(self, handler: Handler, item: Any) -> None:
        """Put one item in line, as `put_all` does."""
        await self.put_all(handler, (item,))

    async def put_all(self, handler: Handler, items: Sequence[Any]) -> None:
        """Put items in line; if the line was empty and nobody handles commands, they are handled when this returns."""
        self._line.extend([(handler, item) for item in items])
        if not self._busy:
            try:
                await self._handle_batch()
            finally:
                self._go_on()  # others' commands must not delay the return to this one's caller

    def look(self) -> None:
        """Have ``after_batch`` called once more, when the commands in line are done."""
        self.post(_nothing, None)

    def post(self, handler: Handler, item: Any) -> None:
        """Put an item in line, from code that cannot wait."""
        self._line.append((handler, item))
        self._go_on()

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command when its turn comes; its value, or its exception, is the caller's."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        await self.put(_answer_each, (command, answer))
        return await answer

    def _go_on(self) -> None:
        if self._line and not self._busy and (self._rest is None or self._rest.done()):
            self._rest = asyncio.ensure_future(self._handle_rest())

    async def _handle_rest(self) -> None:
        while self._line and not self._busy:
            try:
                await self._handle_batch()
            except Exception:
                log.exception("a command of the queue failed; those behind it go on")

    async def _handle_batch(self) -> None:
        self._busy = True
        try:
            handler, item = self._line.popleft()
            batch = [item]
            while self._line and self._line[0][0] == handler:
                batch.append(self._line.popleft()[1])
            await handler(batch)
            await self._after_batch()
        finally:
            self._busy = False


async def _answer_each(commands: list[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]]) -> None:
    for command, answer in commands:
        try:
            value = await command()
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(value)


async def _nothing(_: list[None]) -> None:
    """A command that only brings the dispatcher to look again."""
