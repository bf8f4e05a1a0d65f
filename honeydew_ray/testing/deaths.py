"""Ends of a process that are acted out, so that a job that ends its worker does not end the test."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from typing import Any, NoReturn

from honeydew_ray.failure import Failure

_HARMLESS = frozenset({0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})


class ProcessEnded(BaseException):
    """The job ended its worker's process, or would have."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@contextlib.contextmanager
def acted_out() -> Generator[None]:
    """Within it ``os._exit``, ``os.abort`` and ``os.kill`` of this process raise `ProcessEnded` instead."""
    own, kill, end, abort = os.getpid(), os.kill, os._exit, os.abort  # pyright: ignore[reportPrivateUsage]

    def act_exit(status: int) -> NoReturn:
        text = f"the job ended its worker's process with exit status {status}"
        raise ProcessEnded(Failure("exit", "WorkerExited", text, exit_code=status))

    def act_kill(pid: int, number: int) -> None:
        if pid != own or number in _HARMLESS:
            kill(pid, number)
            return
        raise ProcessEnded(killed(signal.Signals(number)))

    def act_abort() -> NoReturn:
        raise ProcessEnded(killed(signal.SIGABRT))

    names: Any = os
    names._exit, names.kill, names.abort = act_exit, act_kill, act_abort
    try:
        yield
    finally:
        names._exit, names.kill, names.abort = end, kill, abort


def killed(number: signal.Signals) -> Failure:
    """How a death by a signal is recorded."""
    return Failure("signal", "WorkerKilled", f"the worker's process was ended by {number.name}", signal=int(number))
