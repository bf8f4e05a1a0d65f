"""An event loop under virtual time that several simulated processes share, each of which can stop at any step."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

from honeydew_ray.testing.virtual_time import VirtualTimeLoop

_MAX_STEPS = 3_000_000  # a run has some ten thousand; one that has so many goes round in circles


class ProcessEnded(BaseException):
    """Unwinds the code of a process that ends itself; nothing that it does on the way out has any effect."""


class Process:
    """What lives and dies as one: every callback of its tasks is a step of it.

    A process that was killed makes no further step, and none of its code is told; one that is paused
    makes its steps when it is resumed, in order.
    """

    def __init__(self, name: str, node: str) -> None:
        self.name = name
        self.node = node
        self.dead = False
        self.paused = False
        self.computes = False  # while it is paused it uses a processor: it does not hang
        self.dies_at: int | None = None  # the number of the step before which it is killed
        self.steps = 0
        self.on_death: list[Callable[[], None]] = []
        self.held_back: list[_Step] = []

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def kill(self) -> None:
        """It makes no further step."""
        if not self.dead:
            self.dead = True
            for step in self.held_back:
                step.loop.withheld.append(step)
            self.held_back.clear()
            for tell in self.on_death:
                Context().run(tell)  # the world's doing, not a step of the dead

    def exit(self) -> None:
        """It ends itself: does not return."""
        self.kill()
        raise ProcessEnded(self.name)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = self.computes = False
        steps, self.held_back = self.held_back, []
        for step in steps:
            asyncio.get_running_loop().call_soon(step.run_unless_cancelled)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class _Step:
    """A callback of a process; `handle` is how the loop knows it, and whether it was cancelled."""

    __slots__ = ("args", "callback", "context", "handle", "loop", "process")

    def __init__(self, loop: SharedLoop, process: Process, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self.loop = loop
        self.process = process
        self.callback = callback
        self.args = args
        self.context = context
        self.handle: asyncio.Handle | None = None

    def run(self) -> None:
        process = self.process
        if self.loop.ending:
            self.callback(*self.args)
            return
        if process.paused and not process.dead:
            process.held_back.append(self)
            return
        if process.dead:
            self.loop.withheld.append(self)
            return
        process.steps += 1
        self.loop.steps += 1
        if self.loop.steps > _MAX_STEPS:
            raise RuntimeError(f"after {_MAX_STEPS} steps the run has not ended; {process} makes steps for ever")
        if process.dies_at is not None and process.steps >= process.dies_at:
            process.kill()
            self.loop.withheld.append(self)
            return
        self.callback(*self.args)

    def run_unless_cancelled(self) -> None:
        if self.handle is None or not self.handle.cancelled():
            self.context.run(self.run)


class SharedLoop(VirtualTimeLoop):
    """Gives every callback to the process in whose context it was scheduled. With none, it is the world's own and always runs."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = False
        self.steps = 0
        self.withheld: list[_Step] = []  # from the dead, whose tasks can be cleared away only by making them
        self._all_tasks: list[asyncio.Task[Any]] = []  # one whose process is dead must not be collected, which would run its code
        self._names = itertools.count(1)
        self.set_task_factory(self._make_task)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self._gated(super().call_soon, callback, args, context)

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        return self._gated(lambda *rest, context: super(SharedLoop, self).call_at(when, *rest, context=context), callback, args, context)

    def _gated(self, schedule: Callable[..., Any], callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> Any:
        context = copy_context() if context is None else context
        process = context.get(PROCESS)
        if process is None:
            return schedule(callback, *args, context=context)
        step = _Step(self, process, callback, args, context)
        step.handle = schedule(step.run, context=context)
        return step.handle

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        options["name"] = f"task-{next(self._names)}"  # asyncio's own names count on from one run to the next
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        self._all_tasks.append(task)
        return task

    def end(self) -> None:
        """Cancel all that is left, of the living and the dead, and close."""
        self.ending = True
        self.set_exception_handler(lambda _, context: None)
        for step in self.withheld:
            self.call_soon(step.run_unless_cancelled)
        for _ in range(10):
            left = [task for task in self._all_tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            with contextlib.suppress(Exception, ProcessEnded):
                self.run_until_complete(asyncio.wait_for(asyncio.wait(left), 10.0))
        for task in self._all_tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if task.done() and not task.cancelled():
                task.exception()
        self.close()


def start_in(process: Process | None, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task as a process's own, whoever asks."""
    context = copy_context()
    context.run(PROCESS.set, process)
    return context.run(asyncio.ensure_future, work)


def current_process() -> Process | None:
    return PROCESS.get()
