"""Calls into the user's failure and success modes, which may raise or hang."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from honeydew_ray.failure import exception_text
from honeydew_ray.job import JobRecord
from honeydew_ray.success_modes.base import SuccessMode

T = TypeVar("T")
log = logging.getLogger("honeydew_ray")

DECISION_TIMEOUT_S = 10.0
"""How long a failure mode may take to decide."""

_MAX_UNTOLD = 10_000


class Caller(Protocol):
    """Runs a user's function where it cannot hold up the queue."""

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Its value, or its exception; `TimeoutError` if it takes too long."""
        ...


class ThreadCaller:
    """Runs each call on a thread of its own, which is left behind if it never comes back."""

    def __init__(self, timeout_s: float = DECISION_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(outcome: Callable[[], None]) -> None:
            if not answer.done():
                outcome()

        def work() -> None:
            try:
                value = function(*args)
            except BaseException as error:  # a mode may raise SystemExit too; it ends here
                carried = isinstance(error, Exception) and not isinstance(error, StopIteration)  # which no future takes
                fault = error if carried else RuntimeError(exception_text(error))
                outcome: Callable[[], None] = lambda: answer.set_exception(fault)  # noqa: E731
            else:
                outcome = lambda: answer.set_result(value)  # noqa: E731
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                loop.call_soon_threadsafe(settle, outcome)

        threading.Thread(target=work, name="honeydew-policy", daemon=True).start()
        done, _ = await asyncio.wait([answer], timeout=self._timeout_s)
        if not done:  # told from a TimeoutError of the function's own
            answer.cancel()
            raise TimeoutError(f"{function!r} did not return within {self._timeout_s:g} s")
        return answer.result()


class InlineCaller:
    """Runs each call at once, in place; for tests under virtual time."""

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)


class SuccessTeller:
    """Tells a success mode of each success, in order, on one thread that may lag behind."""

    def __init__(self, mode: SuccessMode) -> None:
        self._mode = mode
        self._untold: queue.Queue[JobRecord] = queue.Queue(_MAX_UNTOLD)
        self._dropped = 0
        threading.Thread(target=self._run, name="honeydew-success", daemon=True).start()

    def tell(self, job: JobRecord) -> None:
        """Put a success in line to be told; dropped, and counted in the log, if the line is full."""
        try:
            self._untold.put_nowait(job)
        except queue.Full:
            self._dropped += 1
            if self._dropped & (self._dropped - 1) == 0:  # at 1, 2, 4, 8 ...: a flood must not flood the log
                log.error("success mode %r is %d jobs behind: %d successes dropped", self._mode, _MAX_UNTOLD, self._dropped)

    def _run(self) -> None:
        while True:
            tell_success(self._mode, self._untold.get())


def tell_success(mode: SuccessMode, job: JobRecord) -> None:
    """Tell a success mode of one success; what it raises is logged."""
    try:
        mode.succeeded(job)
    except BaseException:  # user code on our thread: whatever it raises must end here
        log.exception("success mode %r raised on job %s", mode, job.id, extra={"honeydew_job_id": job.id, "honeydew_queue": job.queue})
