"""How a worker calls the user's code: in the thread of the call, or on an event loop of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from honeydew_ray.job import Token
from honeydew_ray.running_job import RunningJob, set_running, set_running_here


class Stopped(BaseException):
    """The job was stopped because somebody asked for it, and its worker goes on."""


class Runner(Protocol):
    """Where the user's code runs."""

    def make(self, function: Callable[[], Any]) -> Any:
        """Call what makes the worker's state."""
        ...

    def run(self, token: Token, job: RunningJob, function: Callable[[], Any]) -> Any:
        """Call a job's function; its value, awaited if need be. Raises what it raises, or `Stopped`."""
        ...

    def stop(self, token: Token) -> bool:
        """Have a job that runs stopped; whether that can be done."""
        ...


class ThreadRunner:
    """Runs one job at a time, in the thread that asks."""

    def make(self, function: Callable[[], Any]) -> Any:
        return function()

    def run(self, token: Token, job: RunningJob, function: Callable[[], Any]) -> Any:
        set_running(job)
        try:
            return function()
        finally:
            set_running(None)

    def stop(self, token: Token) -> bool:
        return False


class LoopRunner:
    """Runs jobs as tasks of one event loop, several at once if asked by several threads.

    All of the user's code runs in the loop's thread, the making of the state too, so that what it
    shares needs no locks; a job that is no coroutine holds up the others while it runs.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._jobs: set[Token] = set()
        self._tasks: dict[Token, asyncio.Task[Any]] = {}  # for the loop's thread alone
        self._stopped: set[Token] = set()
        threading.Thread(target=self._run_loop, name="honeydew-jobs", daemon=True).start()

    def _run_loop(self) -> None:
        while True:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):  # of a task, which ends; asyncio would have the loop end, too
                self._loop.run_forever()

    def make(self, function: Callable[[], Any]) -> Any:
        return self._wait(self._call(function))

    def run(self, token: Token, job: RunningJob, function: Callable[[], Any]) -> Any:
        async def run() -> Any:
            set_running_here(job)
            return await self._call(function)

        ended: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._jobs.add(token)
        self._loop.call_soon_threadsafe(self._begin, token, run(), ended)
        try:
            return ended.result()
        except concurrent.futures.CancelledError:
            if token in self._stopped:
                raise Stopped from None
            raise
        finally:
            job.progress.stop()
            self._jobs.discard(token)
            self._stopped.discard(token)

    def stop(self, token: Token) -> bool:
        known = token in self._jobs
        if known:
            self._stopped.add(token)
            self._loop.call_soon_threadsafe(self._cancel, token)
        return known

    def _begin(self, token: Token, work: Coroutine[Any, Any, Any], ended: concurrent.futures.Future[Any]) -> None:
        task = self._tasks[token] = self._loop.create_task(work)

        def tell(_: asyncio.Task[Any]) -> None:
            """Only now is the job over: one that was cancelled may have gone on for a while."""
            del self._tasks[token]
            if task.cancelled():
                ended.set_exception(concurrent.futures.CancelledError())
            elif (error := task.exception()) is not None:
                ended.set_exception(error)
            else:
                ended.set_result(task.result())

        task.add_done_callback(tell)

    def _cancel(self, token: Token) -> None:
        task = self._tasks.get(token)
        if task is not None:
            task.cancel()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @staticmethod
    async def _call(function: Callable[[], Any]) -> Any:
        value = function()
        return await value if inspect.isawaitable(value) else value


def has_async_methods(cls: type[Any] | None) -> bool:
    """Whether some method of a class is an ``async def``."""
    return cls is not None and any(inspect.iscoroutinefunction(getattr(cls, name, None)) for name in dir(cls))
