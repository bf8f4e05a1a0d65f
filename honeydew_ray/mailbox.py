"""A queue's commands in line: each finishes before the next starts, and neighbours of a kind go as one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")
Handler = Callable[[list[Any]], Awaitable[None]]


class Mailbox:
    """Commands in order of arrival. What arrives while one is handled forms the next batch."""

    def __init__(self) -> None:
        self._line: deque[tuple[Handler, Any]] = deque()
        self._arrived = asyncio.Event()

    def post(self, handler: Handler, item: Any) -> None:
        """Put an item in line for a handler."""
        self._line.append((handler, item))
        self._arrived.set()

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command when its turn comes; its value, or its exception, is the caller's."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.post(_answer_each, (command, answer))
        return await answer

    async def wait(self) -> None:
        """Return once something is in line."""
        await self._arrived.wait()

    async def handle_next(self) -> None:
        """Handle the next command in line, together with its neighbours of the same kind."""
        handler, item = self._line.popleft()
        batch = [item]
        while self._line and self._line[0][0] == handler:
            batch.append(self._line.popleft()[1])
        if not self._line:
            self._arrived.clear()
        await handler(batch)


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
