"""A worker: a process that holds the user's state and runs one job at a time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import ray

from honeydew_ray import payload
from honeydew_ray.actors import names
from honeydew_ray.actors.blackbox import BlackBox
from honeydew_ray.actors.objects import StoredBuffer, as_arguments
from honeydew_ray.actors.wire import pack, unpack
from honeydew_ray.errors import PayloadError
from honeydew_ray.failure import Failure, exception_text, exception_traceback
from honeydew_ray.job import Token
from honeydew_ray.payload import Payload
from honeydew_ray.progress import RunningJob, set_running

Rebuild = Literal["always", "never"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What every worker of a group is made from."""

    queue: str
    state: bytes | None  # the pickled (class, args, kwargs); None: no state, plain functions only
    rebuild: Rebuild


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
    """What became of an attempt: a result, a failure, or neither if it had been recalled."""

    result: bytes | None = None
    buffer_sizes: tuple[int, ...] = ()
    failure: Failure | None = None
    spoilt: bool = False


class WorkerActor:
    """The user's class comes to life here.

    ``init`` and ``run`` share one thread, so that state bound to a thread (a database connection)
    works. Everything else runs in the control group and answers while a job runs. Invariants: a token
    that was recalled is never begun, and one that was begun is never recalled; an answer is kept
    until the queue says that it is settled, so that a queue that lost its process can ask again.
    """

    def __init__(self, worker_id: str, spec: WorkerSpec) -> None:
        self._spec = spec
        self._state: Any = None
        self._epoch = self._attempted = 0
        self._lock = threading.Condition()
        self._current: Token | None = None
        self._kept: dict[Token, tuple[bytes, list[Any]]] = {}  # answers and large buffers that the queue has yet to settle
        self._recalled: set[Token] = set()
        self._watcher = threading.Event()
        self._queue: Any = None
        self._box = BlackBox(worker_id)
        self._box.install()

    def init(self, epoch: int) -> InitFailed | None:
        """Make the state anew: None if it worked."""
        self._attempted, self._epoch, self._state = epoch, 0, None  # the old state goes first: two may not fit in memory
        try:
            self._state = self._make_state()
        except BaseException as error:  # SystemExit in __init__ must not pass for a ready worker
            return InitFailed(f"{exception_text(error)}\n{exception_traceback(error)}", self._retry_after(error))
        self._epoch = epoch
        return None

    def run(self, attempt: bytes, buffers: tuple[StoredBuffer, ...] = ()) -> bytes:
        """Run a job: what became of it, an `Answer`, packed. It is kept until the queue has settled it."""
        token, settled, method, is_function, data = unpack(attempt)
        token = Token(*token)
        if not self._begin(token, settled):
            return pack(())
        try:
            value = self._call(token, method, is_function, Payload(data, buffers))
            result, large = payload.dumps(value, "the job's result")
            arrays = as_arguments(large)
            answer = pack((result, tuple(array.nbytes for array in arrays)))
        except BaseException as error:  # whatever a job raises is the job's failure and must not end the worker
            answer, arrays = pack((None, (), self._failure(error), self._spoils())), []
        set_running(None)
        self._end(token, answer, arrays)
        return answer

    @ray.method(concurrency_group="control")
    def who_am_i(self) -> WhoAmI:
        """Where this worker lives, and whether it holds a state."""
        context = ray.get_runtime_context()
        labels: Any = context.get_node_labels()
        texts = {str(key): str(value) for key, value in labels.items()}
        return WhoAmI(context.get_node_id(), os.getpid(), texts, self._epoch, self._attempted)

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
    def recall(self, token: Token) -> bool:
        """Take an attempt back: True if it was not begun, and now never will be."""
        with self._lock:
            if token == self._current or token in self._kept:
                return False
            self._recalled.add(token)
            return True

    @ray.method(concurrency_group="control")
    def holding(self) -> list[Token]:
        """The attempts that are not settled: the one that runs, if one does, and those whose answers are kept."""
        with self._lock:
            return [*self._kept, *([] if self._current is None else [self._current])]

    @ray.method(concurrency_group="control")
    def answer_of(self, token: Token, patience_s: float) -> bytes | None:
        """The answer of an attempt that this worker holds; None if it has none within ``patience_s`` seconds."""
        with self._lock:
            return self._kept[token][0] if self._lock.wait_for(lambda: self._current != token, patience_s) else None

    @ray.method(concurrency_group="control")
    def wait_idle(self, patience_s: float) -> bool:
        """Whether no job runs, now or within ``patience_s`` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: self._current is None, patience_s)

    def _make_state(self) -> Any:
        if self._spec.state is None:
            return None
        make, args, kwargs = payload.loads(self._spec.state)
        return make(*args, **kwargs)

    def _retry_after(self, error: BaseException) -> float | None:
        try:
            make, _, _ = payload.loads(self._spec.state or b"")
            hook: Callable[[Any, BaseException], Any] | None = getattr(make, "init_failed", None)
            asked = None if hook is None else make.init_failed(error)
            return None if asked is None else max(float(asked), 0.0)
        except BaseException as fault:  # the class could not be loaded, or its hook raised
            print(f"init_failed could not be asked: {exception_text(fault)}", file=sys.stderr)
            return None

    def _begin(self, token: Token, settled: Sequence[tuple[Any, ...]]) -> bool:
        with self._lock:
            for done in settled:
                self._kept.pop(Token(*done), None)
            if token in self._recalled:
                self._recalled.discard(token)
                return False
            self._current = token
        self._box.begun(token_text(token))
        return True

    def _end(self, token: Token, answer: bytes, arrays: list[Any]) -> None:
        with self._lock:
            self._current = None
            self._kept[token] = answer, arrays
            self._lock.notify_all()

    def _call(self, token: Token, method: str, is_function: bool, arguments: Payload) -> Any:
        set_running(RunningJob(self._state, lambda value: self._publish(token, value)))
        function, args, kwargs = arguments.load()
        if not is_function:
            function = self._method(method)
        return function(*args, **kwargs)

    def _method(self, name: str) -> Callable[..., Any]:
        if self._spec.state is None:
            raise AttributeError(f"this worker was started without a class, so it has no method {name!r}; it runs plain functions")
        return getattr(self._state, name)

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, PayloadError) and error.__cause__ is not None:
            return Failure.from_exception(error)  # the result's fault: there is no exception of the job to rebuild
        try:
            pickled, _ = payload.dumps(error, "the exception")
            payload.loads(pickled)  # one that cannot be rebuilt must not be sent
        except BaseException:  # __reduce__ and __init__ are user code
            pickled = None
        return Failure.from_exception(error, pickled)

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


def token_text(token: Token) -> str:
    """A token as the recorder keeps it."""
    return f"{token.incarnation}/{token.attempt}/{token.job_id!r}"
