"""What the death of a worker means for the jobs that it had been sent, by what it left."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, Token
from honeydew_ray.transport import Died, Lost, NotStarted, Report

_FATAL = {
    "Segmentation fault": signal.SIGSEGV,
    "Aborted": signal.SIGABRT,
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
    "Floating point exception": signal.SIGFPE,
    "Illegal instruction": signal.SIGILL,
}

_OF_THE_WORKER = {
    ("exit", "WorkerExited"), ("signal", "WorkerKilled"), ("signal", "WorkerDied"), ("out_of_memory", "OutOfMemoryError"),
    ("unresponsive", "WorkerSilent"),
}

SEVERAL = "*"
"""What stands in the recorder instead of a token while several jobs run."""


def token_text(token: Token) -> str:
    """A token as the recorder keeps it."""
    return f"{token.incarnation}/{token.attempt}/{token.job_id!r}"


@dataclass(frozen=True, slots=True)
class Recording:
    """What was found in a recorder."""

    token: str | None  # of the last job that was begun
    exit_code: int | None  # if the process called os._exit
    crash: str  # the interpreter's last words on a fatal signal

    @property
    def signal(self) -> int | None:
        """The fatal signal that the interpreter saw, if it saw one."""
        return next((number for words, number in _FATAL.items() if f"Fatal Python error: {words}" in self.crash), None)


def reports(tokens: Sequence[Token], recording: Recording | None, ray_says: str, out_of_memory: bool = False) -> list[Report]:
    """What the death of a worker means for the attempts of a lease, in their order, by what it left; ``ray_says`` why it died.

    With no recording, or with several at once under way, it is not known which of several jobs met the end: none is to blame.
    """
    if recording is None and len(tokens) > 1:
        return [Lost(_in_company(ray_says))] * len(tokens)
    failure = Failure("out_of_memory", "OutOfMemoryError", ray_says) if out_of_memory else cause(recording, ray_says)
    if recording is None:
        return [Died(failure)]
    if recording.token == SEVERAL:
        return [Lost(_in_company(ray_says))] * len(tokens)
    begun = next((index for index, token in enumerate(tokens) if token_text(token) == recording.token), None)
    return by_place(tokens, begun, failure)


def by_place(tokens: Sequence[Token], begun: int | None, failure: Failure) -> list[Report]:
    """The job at this place met the end; those before it had ended, those after it, or all if it is None, had not begun."""
    if begun is None:
        return [NotStarted(worker_alive=False)] * len(tokens)
    return [*[Lost(_answer_lost())] * begun, Died(failure), *[NotStarted(worker_alive=False)] * (len(tokens) - begun - 1)]


def is_suspect(job: JobRecord) -> bool:
    """Whether a worker's process ended, or had to be ended, under the job's last attempt: by its fault, or by that of others there."""
    last = job.last_error
    return last is not None and ((last.kind, last.class_name) in _OF_THE_WORKER or (last.kind == "timeout" and last.signal is not None))


def cause(recording: Recording | None, ray_says: str) -> Failure:
    """How a worker's process ended, by its recorder."""
    if recording is None:
        return Failure("signal", "WorkerDied", f"the worker's process is gone and left no record; Ray says: {_first_line(ray_says)}")
    if recording.exit_code is not None:
        text = f"the job ended its worker's process with exit status {recording.exit_code}"
        return Failure("exit", "WorkerExited", text, exit_code=recording.exit_code)
    number = recording.signal
    if number is not None:
        name = signal.Signals(number).name
        return Failure("signal", "WorkerKilled", f"the worker's process was ended by {name}", recording.crash, signal=number)
    text = "the worker's process was ended by SIGKILL: it vanished without a trace (the kernel's out-of-memory killer sends SIGKILL too)"
    return Failure("signal", "WorkerKilled", text, signal=int(signal.SIGKILL))


def _in_company(ray_says: str) -> Failure:
    text = f"the worker died while several jobs were in hand, and which of them ended it is not known: {_first_line(ray_says)}"
    return Failure("signal", "WorkerDied", text)


def _answer_lost() -> Failure:
    return Failure("exit", "AnswerLost", "the job had ended, but its worker died under the next one before the answer was taken")


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "nothing")
