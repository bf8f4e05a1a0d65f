"""A worker: a process that holds the user's state and runs jobs on it, one at a time unless it is told otherwise."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import ray

from honeydew_ray import craft, failpoints, payload
from honeydew_ray.actors import names
from honeydew_ray.actors.blackbox import BlackBox
from honeydew_ray.actors.objects import StoredBuffer, as_arguments, copied
from honeydew_ray.actors.runner import LoopRunner, Runner, Stopped, ThreadRunner
from honeydew_ray.actors.wire import pack, unpack
from honeydew_ray.failure import Failure, exception_text, exception_traceback
from honeydew_ray.job import Token
from honeydew_ray.payload import Payload
from honeydew_ray.postmortem import SEVERAL, token_text
from honeydew_ray.running_job import RunningJob

Rebuild = Literal["always", "never"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What every worker of a group is made from."""

    queue: str
    state: bytes | None  # the pickled (class, args, kwargs); None: no state, plain functions only
    rebuild: Rebuild
    concurrency: int = 1  # how many jobs run at once
    on_loop: bool = False  # the user's code runs on an event loop


class WhoAmI(NamedTuple):
    """What a worker says of itself; ``epoch`` is that of the state it holds, 0 for none, ``attempted`` of the last it was to make."""

    node: str
    pid: int
    labels: dict[str, str]
    epoch: int
    attempted: int


class InitFailed(NamedTuple):
    """Making the state raised; ``retry_s`` is what the class's ``init_failed`` asked for."""

    error: str
    retry_s: float | None


class Answer(NamedTuple):
    """What became of an attempt: a result, a failure, stopped when asked to, or nothing if it had been taken back."""

    result: bytes | None = None
    buffer_sizes: tuple[int, ...] = ()
    failure: Failure | None = None
    spoilt: bool = False
    ran_s: float | None = None
    stopped: bool = False


NOT_STARTED = pack(())
NOT_ON_SPOILT_STATE = pack((None, (), None, True))


class Assignment(NamedTuple):
    """One attempt of a lease, as the queue sends it."""

    token: Token
    method: str
    is_function: bool
    arguments: bytes
    timeout_s: float | None


class WorkerActor:
    """The user's class comes to life here.

    ``init`` and ``run`` share one thread, so that state bound to a thread (a database connection)
    works; with an event loop they share that. Everything else runs in the control group and answers
    while a job runs. Invariants: an attempt that was taken back is never begun, and one that was
    begun is never taken back; an answer is kept until the queue says that it is settled, so that a
    queue that lost its process can ask again; no job is begun on a state that another one spoilt,
    whoever sends it.
    """

    def __init__(self, worker_id: str, spec: WorkerSpec) -> None:
        self._spec = spec
        self._state: Any = None
        self._epoch = self._attempted = 0
        self._spoilt = False  # the state may not be used until it is made anew
        self._lock = threading.Condition()
        self._waiting: set[Token] = set()  # of leases that came, not begun
        self._running: dict[Token, float] = {}  # until when they may, by the monotonic clock
        self._kept: dict[Token, tuple[bytes, list[Any]]] = {}  # answers and large buffers that the queue has yet to settle
        self._recalled: set[Token] = set()  # taken back before they came
        self._watcher = threading.Event()
        self._queue: Any = None
        self._runner: Runner = LoopRunner() if spec.on_loop else ThreadRunner()
        self._box = BlackBox(worker_id)
        self._box.install()

    def init(self, epoch: int) -> InitFailed | None:
        """Make the state anew: None if it worked."""
        self._attempted, self._epoch, self._spoilt = epoch, 0, False
        self._state = None  # the old state goes first: two may not fit in memory
        try:
            self._state = self._runner.make(lambda: craft.make_state(self._spec.state))
        except BaseException as error:  # SystemExit in __init__ must not pass for a ready worker
            return InitFailed(f"{exception_text(error)}\n{exception_traceback(error)}", craft.retry_after(self._spec.state, error))
        self._epoch = epoch
        return None

    def run(self, lease: bytes, buffers: tuple[StoredBuffer, ...] = ()) -> bytes:
        """Run the jobs of a lease in order: what became of each, an `Answer`, packed. They are kept until the queue has settled them.

        ``buffers``: the large ones of the arguments of the only job.
        """
        assignments = self._accept(lease)
        alone = len(assignments) == 1 and self._spec.concurrency == 1
        return pack([self._run(assignment, buffers, alone) for assignment in assignments])

    @ray.method(num_returns=2)
    def run_large(self, lease: bytes, buffers: tuple[StoredBuffer, ...] = ()) -> tuple[bytes, list[Any]]:
        """As `run`, one job whose result is expected to be large: its buffers come with the answer, and need no `fetch`."""
        [assignment] = self._accept(lease)
        answers = pack([self._run(assignment, buffers, alone=self._spec.concurrency == 1)])
        with self._lock:
            return answers, self._kept[assignment.token][1] if assignment.token in self._kept else []

    def _accept(self, lease: bytes) -> list[Assignment]:
        settled, rows = unpack(lease)
        assignments = [Assignment(Token(*token), *rest) for token, *rest in rows]
        with self._lock:
            for done in settled:
                self._kept.pop(Token(*done), None)
            for assignment in assignments:
                if assignment.token in self._recalled:
                    self._recalled.discard(assignment.token)
                else:
                    self._waiting.add(assignment.token)
        return assignments

    def _run(self, assignment: Assignment, buffers: tuple[StoredBuffer, ...], alone: bool) -> bytes:
        token = assignment.token
        if not self._begin(token, math.inf if assignment.timeout_s is None else time.monotonic() + assignment.timeout_s):
            return NOT_ON_SPOILT_STATE if self._spoilt else NOT_STARTED
        began = time.perf_counter()
        arrays: list[Any] = []
        spoilt = False
        try:
            value = self._call(assignment, buffers)
            ran_s = time.perf_counter() - began
            result, large = payload.dumps(value, "the job's result")
            arrays = as_arguments(large) if alone else copied(large)  # another job may change what this one returned before it is sent
            answer = pack((result, tuple(array.nbytes for array in arrays), None, False, ran_s))
        except Stopped:
            answer = pack((None, (), None, False, None, True))
        except BaseException as error:  # whatever a job raises is the job's failure and must not end the worker
            spoilt = self._spoils()
            answer = pack((None, (), craft.failure_of(error), spoilt))
        failpoints.hit("job.post_user")
        self._end(token, answer, arrays, spoilt)
        return answer

    @ray.method(concurrency_group="control")
    def who_am_i(self) -> WhoAmI:
        """Where this worker lives, and whether it holds a state."""
        context = ray.get_runtime_context()
        labels: Any = context.get_node_labels()
        texts = {str(key): str(value) for key, value in labels.items()}
        return WhoAmI(context.get_node_id(), os.getpid(), texts, self._epoch, self._attempted)

    @ray.method(concurrency_group="control")
    def pulse(self) -> float:
        """The seconds of processor time that this process has used."""
        return time.process_time()

    @ray.method(concurrency_group="control")
    def watch(self) -> None:
        """Answer only when somebody else watches: the call that is pending hears of the process's death."""
        self._watcher.set()
        self._watcher = mine = threading.Event()
        mine.wait()

    @ray.method(concurrency_group="control")
    def fetch(self, token: Token) -> list[Any]:
        """The large buffers of the result of an attempt that is not settled."""
        return self._kept[token][1]

    @ray.method(concurrency_group="control")
    def take_back(self, tokens: Sequence[Token]) -> list[bytes | None]:
        """Take attempts back: an answer for each that was not begun, and now never will be, or is over; None for one that runs."""
        with self._lock:
            return [self._taken_back(token) for token in tokens]

    def _taken_back(self, token: Token) -> bytes | None:
        if token in self._running:
            return None
        if token in self._kept:
            return self._kept[token][0]
        if token in self._waiting:
            self._waiting.discard(token)
        else:
            self._recalled.add(token)
        return NOT_STARTED

    @ray.method(concurrency_group="control")
    def stop(self, token: Token) -> bool:
        """Stop one job that runs, and no other; whether that can be done here."""
        return self._runner.stop(token)

    @ray.method(concurrency_group="control")
    def holding(self) -> list[Token]:
        """The attempts that are not settled, those that run and those whose answers are kept; what was not begun never will be."""
        with self._lock:
            self._waiting.clear()
            return [*self._kept, *self._running]

    @ray.method(concurrency_group="control")
    def answer_of(self, token: Token, patience_s: float) -> bytes | None:
        """The answer of an attempt that this worker holds; None if it has none within ``patience_s`` seconds."""
        with self._lock:
            return self._kept[token][0] if self._lock.wait_for(lambda: token not in self._running, patience_s) else None

    @ray.method(concurrency_group="control")
    def wait_idle(self, patience_s: float) -> bool | None:
        """Whether no job runs, now or within ``patience_s`` seconds; None if one runs for longer than its timeout allows.

        That is for a queue that did not send it: the one that did would have ended it.
        """
        with self._lock:
            idle = self._lock.wait_for(lambda: not self._running, patience_s)
            return idle if idle or min(self._running.values()) > time.monotonic() else None

    def _begin(self, token: Token, until: float) -> bool:
        with self._lock:
            if token not in self._waiting:
                return False
            self._waiting.discard(token)
            if self._spoilt:
                return False
            self._running[token] = until
            self._record()
        return True

    def _end(self, token: Token, answer: bytes, arrays: list[Any], spoilt: bool) -> None:
        with self._lock:
            del self._running[token]
            self._kept[token] = answer, arrays
            self._spoilt = self._spoilt or spoilt  # no other job may meet the state as this one left it
            if self._running:
                self._record()
            self._lock.notify_all()

    def _record(self) -> None:
        """Note which job runs, should the process die."""
        self._box.begun(token_text(next(iter(self._running))) if len(self._running) == 1 else SEVERAL)

    def _call(self, assignment: Assignment, buffers: tuple[StoredBuffer, ...]) -> Any:
        function, args, kwargs = Payload(assignment.arguments, buffers).load()
        if not assignment.is_function:
            function = craft.method_of(self._state, self._spec.state is not None, assignment.method)
        job = RunningJob(self._state, lambda value: self._publish(assignment.token, value))
        return self._runner.run(assignment.token, job, lambda: function(*args, **kwargs))

    def _spoils(self) -> bool:
        return self._spec.state is not None and self._spec.rebuild == "always"

    def _publish(self, token: Token, value: Any) -> None:
        try:
            if self._queue is None:
                self._queue = ray.get_actor(names.queue_actor(self._spec.queue), namespace=names.NAMESPACE)
            self._queue.progressed.remote(*token, value)
        except Exception as error:  # a queue that is away must not fail the job
            self._queue = None
            print(f"progress could not be sent: {exception_text(error)}", file=sys.stderr)
