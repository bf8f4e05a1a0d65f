"""What is known of an attempt that did not succeed, as text that any process can read."""

from __future__ import annotations

import traceback as tb
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

FailureKind = Literal[
    "exception",  # the job raised
    "exit",  # the job raised SystemExit, or ended its worker's process with os._exit
    "signal",  # a signal ended the worker's process
    "out_of_memory",  # Ray's memory monitor killed the worker
    "timeout",  # the job ran longer than its timeout_s and was killed
    "unresponsive",  # the worker stopped answering and was killed
    "node_lost",  # the worker's node died
    "poison",  # given back more often than the queue allows
]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not succeed.

    ``kind`` tells the sorts of end apart; ``class_name``, ``message`` and ``traceback`` are text;
    ``exit_code`` and ``signal`` are set when a process ended. ``exception`` is the pickled
    original for `JobFailed.__cause__`: the queue carries it and never loads it.
    """

    kind: FailureKind
    class_name: str
    message: str
    traceback: str = ""
    exit_code: int | None = None
    signal: int | None = None
    attempt: int = 0
    node: str | None = None
    exception: bytes | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.class_name}: {self.message}"

    def of_attempt(self, attempt: int, node: str | None) -> Failure:
        """The same failure, with where it happened."""
        return replace(self, attempt=attempt, node=node)

    def followed_by(self, later: BaseException, doing: str) -> Failure:
        """The same failure, its traceback extended by an error met while dealing with it."""
        text = f"{self.traceback}\nWhile {doing}, another error arose:\n{exception_traceback(later)}"
        return replace(self, message=f"{self.message} (while {doing}: {exception_text(later)})", traceback=text)

    @classmethod
    def from_exception(cls, error: BaseException, pickled: bytes | None = None) -> Failure:
        """The record of an exception caught in a worker; ``SystemExit`` is kind ``exit``."""
        name = type_name(type(error))
        if isinstance(error, SystemExit):
            return cls("exit", name, f"the job raised SystemExit({error.code!r})", exception_traceback(error),
                       exit_code=exit_status(error.code), exception=pickled)
        return cls("exception", name, exception_message(error), exception_traceback(error), exception=pickled)


def exit_status(code: object) -> int:
    """The process exit status of ``sys.exit(code)``: None is 0, anything but a number is 1."""
    if code is None:
        return 0
    return code if isinstance(code, int) else 1


def type_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def exception_message(error: BaseException) -> str:
    """``str(error)``, or a note in its place if the exception's own ``__str__`` raises."""
    try:
        return str(error)
    except BaseException as fault:  # a user's __str__ may raise anything
        return f"<{type_name(type(error))} whose text cannot be shown: its __str__ raised {type_name(type(fault))}>"


def exception_text(error: BaseException) -> str:
    return f"{type_name(type(error))}: {exception_message(error)}"


def exception_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, from where the user's code begins."""
    begin = _users_part(error.__traceback__)
    try:
        return "".join(tb.format_exception(type(error), error, begin))
    except BaseException:  # formatting calls the user's __str__ and __repr__
        return "".join(tb.format_tb(begin)) + exception_text(error) + "\n"


_HERE = Path(__file__).parent
_CALLERS = frozenset(str(_HERE / name) for name in ("actors/worker_actor.py", "actors/runner.py", "craft.py", "testing/inline_workers.py"))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """What comes after the last frame of those that call the user's code; everything, if there is no such frame."""
    begin = trace
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in _CALLERS:
            begin = trace.tb_next
        trace = trace.tb_next
    return begin
