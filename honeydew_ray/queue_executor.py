"""A queue as an executor of ``concurrent.futures``: code written for a process pool runs on the cluster."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import functools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from honeydew_ray.arguments import refuse, refuse_type
from honeydew_ray.errors import EnqueueUncertain, JobCancelled, JobFailed, PayloadError, QueueNotFound, WorkerTraceback
from honeydew_ray.job import CancelOutcome
from honeydew_ray.job_handle import Job
from honeydew_ray.shipper import Packed, Shipper
from honeydew_ray.submitter import Submitter
from honeydew_ray.task import task_of

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("honeydew_ray")

_BATCH = 500
_CLOSED = "cannot schedule new futures after shutdown"


class JobFuture(concurrent.futures.Future[T]):
    """The future of a job. ``job`` is its handle once the queue has custody of it, None before."""

    def __init__(self) -> None:
        super().__init__()
        self.job: Job[T] | None = None
        self.error: BaseException | None = None  # why the queue does not have the job, or may not
        self.arrived: threading.Event | None = None  # set once there is a job or an error; None: not sent yet

    def cancel(self) -> bool:
        """Call the job off, unless it runs or has ended; whether it will not run. Waits while the job is on its way to the queue."""
        if self.arrived is not None:
            self.arrived.wait()
        if self.done() or self.error is not None:
            return self.cancelled()
        if self.job is not None and self.job.cancel() is not CancelOutcome.CANCELLED:
            return False
        self.call_off()
        return True

    def running(self) -> bool:
        """Whether a worker has the job now."""
        return not self.done() and self.job is not None and self.job.started_at is not None

    def call_off(self) -> None:
        """End as cancelled, and have everybody who waits hear of it."""
        with _ENDING:
            if super().cancel() and self not in _notified:
                _notified.add(self)
                self.set_running_or_notify_cancel()

    def follow(self) -> None:
        """End when the job ends, or now if there is an error."""
        if self.error is not None:
            self.fail(self.error)
        elif self.job is not None:
            self.job.when_done(functools.partial(self._settle, self.job))

    def fail(self, error: BaseException) -> None:
        """End with an exception, unless it was cancelled."""
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_exception(error)

    def _settle(self, job: Job[T]) -> None:
        try:
            value = job.result(timeout=0)
        except JobCancelled:
            self.call_off()
        except JobFailed as failed:
            cause = failed.__cause__
            self.fail(failed if cause is None or isinstance(cause, WorkerTraceback) else cause)
        except BaseException as error:  # the queue is lost, or the value does not unpickle here
            self.fail(error)
        else:
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.set_result(value)


_ENDING = threading.RLock()
_notified: weakref.WeakSet[JobFuture[Any]] = weakref.WeakSet()


class QueueExecutor(concurrent.futures.Executor):
    """Runs calls as jobs of a queue. Made by `executor`.

    ``submit`` returns at once: a thread sends what has gathered, up to 500 jobs a call. A job that
    raised raises the same exception from its future where it can be rebuilt, a `JobFailed` where it
    cannot, as for a worker that died. Differs from a process pool in that the queue, its workers and
    the jobs it has custody of outlive the executor and its program.
    """

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Packed, JobFuture[Any]]] = deque()
        self._open: set[JobFuture[Any]] = set()
        self._sender: threading.Thread | None = None
        self._closed = False
        _flush_at_exit(self)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> JobFuture[T]:
        """Have ``fn(*args, **kwargs)`` run by a worker.

        Arguments are pickled at once, and large ones copied, so that they may be changed from now on;
        those that cannot be pickled fail the future with `PayloadError`.
        Raises `RuntimeError` after `shutdown`.
        """
        if self._closed:
            raise RuntimeError(_CLOSED)
        if not callable(fn):  # a name would be taken for that of a method
            raise refuse_type("submit", "fn", fn, "something that can be called", "submit(math.sqrt, 2)")
        future: JobFuture[T] = JobFuture()
        try:
            packed = self._shipper.pack(task_of(fn), args, kwargs).copied()
        except PayloadError as error:
            future.set_exception(error)
            return future
        with self._changed:
            if self._closed:
                raise RuntimeError(_CLOSED)
            self._open.add(future)
            self._waiting.append((packed, future))
            self._start_sender()
        future.add_done_callback(self._ended)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. ``wait``: return when all are done. ``cancel_futures``: call off those that have not started.

        The queue and its workers go on.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            futures = list(self._open)
        if cancel_futures:
            self.flush()  # so that the workers that are free have begun what they can
            for future in futures:
                future.cancel()
        if wait:
            self.flush()
            concurrent.futures.wait(futures)

    def flush(self) -> None:
        """Return when everything submitted has been sent to the queue; at once in a callback on the thread that sends."""
        with self._changed:
            self._changed.wait_for(lambda: self._sender in (None, threading.current_thread()))

    def _ended(self, future: concurrent.futures.Future[Any]) -> None:
        with self._changed:
            self._open.discard(cast("JobFuture[Any]", future))

    def _start_sender(self) -> None:
        if self._sender is None:
            self._sender = threading.Thread(target=self._send_all, name="honeydew-executor", daemon=True)
            self._sender.start()

    def _send_all(self) -> None:
        while True:
            arrived = threading.Event()
            with self._changed:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
                if not batch:
                    self._sender = None
                    self._changed.notify_all()
                    return
                for _, future in batch:
                    future.arrived = arrived
            wanted = [(packed, future) for packed, future in batch if not future.cancelled()]
            self._send(wanted)
            arrived.set()
            for _, future in wanted:  # only now, as what it calls back may cancel others of the batch
                try:
                    future.follow()
                except BaseException as error:  # what it calls back may raise anything: the others must hear all the same
                    log.exception("a future, or what it calls back, failed: %r", future)
                    future.fail(error)

    def _send(self, batch: list[tuple[Packed, JobFuture[Any]]]) -> None:
        """Give each future its job, or the error; nobody is called back."""
        if not batch:
            return
        try:
            jobs = self._shipper.send([packed for packed, _ in batch]).confirmed()
        except BaseException as error:  # whatever it is, the thread goes on
            if len(batch) > 1 and not isinstance(error, (EnqueueUncertain, QueueNotFound)):
                for one in batch:  # one that the queue refuses must not fail the others
                    self._send([one])
                return
            for _, future in batch:
                future.error = error
        else:
            for job, (_, future) in zip(jobs, batch, strict=True):
                future.job = job


def executor(queue: Submitter) -> QueueExecutor:
    """An executor whose calls are jobs of a queue: ``honeydew.executor(honeydew.get_queue("photos"))``.

    Give ``queue.options(timeout_s=60)`` to set options for all its jobs. Their functions run in the
    queue's workers, as they do with ``queue.submit(function, ...)``; a method of the worker class
    is called on the worker's state. Raises `ValueError` for options with ``reply=False`` or a ``job_id``.
    """
    options = queue.shipper.options
    if not options.reply:
        expected = "True, since a future ends with the result of its job"
        raise refuse("executor", "reply", options.reply, expected, "executor(queue.options(timeout_s=60))")
    options.refuse_one_id("executor")
    return QueueExecutor(queue.shipper)


def _flush_at_exit(live: QueueExecutor) -> None:
    """What was submitted is sent before the program ends."""
    reference = weakref.ref(live)

    def flush() -> None:
        executor_left = reference()
        if executor_left is not None:
            executor_left.flush()

    atexit.register(flush)
