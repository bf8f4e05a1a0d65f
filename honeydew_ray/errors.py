"""The errors Honeydew raises; each derives from HoneydewError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from honeydew_ray.failure import Failure


class HoneydewError(Exception):
    """The base of every error of Honeydew."""


class QueueNotFound(HoneydewError):
    """No queue of that name runs in this cluster, or it is stopping."""


class QueueAlreadyStarted(HoneydewError):
    """A queue of that name runs already."""


class QueueSuspended(HoneydewError):
    """The call would wait for ever, because the queue is suspended."""


class QueueFull(HoneydewError):
    """The queue refused the job: it holds as many as it was told to. Nothing was enqueued."""


class InsecureCluster(HoneydewError):
    """``strict_security=True``, and whoever reaches the cluster over the network can run code in it: the queue does not start."""


class WorkersAlreadyStarted(HoneydewError):
    """A worker group of that name runs already for this queue."""


class WorkersNotFound(HoneydewError):
    """No worker group of that name runs for this queue."""


class PayloadError(HoneydewError):
    """Arguments or a value could not be pickled. Nothing was enqueued."""


class UnknownMethod(HoneydewError):
    """No worker of the queue has a method of that name. Nothing was enqueued."""


class JobNotFound(HoneydewError):
    """The queue does not know the job, or no longer keeps its result."""


class JobInProgress(HoneydewError):
    """The job runs already, so it cannot be moved."""


class ReplyNotRequested(HoneydewError):
    """The job was submitted with ``reply=False``, so there is no result to wait for."""


class EnqueueUncertain(HoneydewError):
    """The queue did not answer in time: the job may or may not be enqueued.

    ``job`` is its handle. Submitting again under the same id is safe: one id is one job.
    """

    def __init__(self, message: str, job: Any = None) -> None:
        super().__init__(message)
        self.job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.job)


class QueueLost(HoneydewError):
    """The queue's process died, and its store kept nothing: the job is gone.

    Not a failure of the job, which may or may not have run.
    """


class JobCancelled(HoneydewError):
    """The job was cancelled."""


class StoreError(HoneydewError):
    """A store could not do what it was asked; the message names its file and says what to do.

    If it was asked to enqueue, nothing was enqueued, unless the message says otherwise.
    """


class StoreInUse(StoreError):
    """Another process, or another queue of this one, has the store's file open."""


class StoreUnreachable(StoreError):
    """The database is down, restarts, or has no connection left. What was asked for has not happened, as far as known."""


class StoreDamaged(StoreError):
    """A store's file is not as it was left. It was not opened, and nothing was changed in it."""


class InvalidTransition(HoneydewError):
    """A job was asked to make a step that its state does not allow."""


class WorkerTraceback(HoneydewError):
    """A traceback in a worker: the last cause in the chain of a `JobFailed` that nobody catches, so that it shows where the job failed."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0].rstrip()}\n"""'


class JobFailed(HoneydewError):
    """The job's last outcome was a failure; ``failure`` tells which.

    ``__cause__`` is the original exception where it could be rebuilt in this process; the cause of
    that, or else ``__cause__`` itself, is a `WorkerTraceback`, if the job left one.
    """

    def __init__(self, job_id: object, queue: str, failure: Failure, attempts: int) -> None:
        super().__init__(f"job {job_id} of queue {queue!r} failed after {attempts} attempt(s): {failure}")
        self.job_id = job_id
        self.queue = queue
        self.failure = failure
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job_id, self.queue, self.failure, self.attempts)

    @property
    def kind(self) -> str:
        """What sort of end it was: see `Failure.kind`."""
        return self.failure.kind

    @property
    def class_name(self) -> str:
        """The class of the exception, with its module unless that is ``builtins``."""
        return self.failure.class_name

    @property
    def message(self) -> str:
        """The text of the exception, or what is known of the worker's death."""
        return self.failure.message

    @property
    def traceback(self) -> str:
        """The traceback in the worker, as text; empty if it left none."""
        return self.failure.traceback

    @property
    def exit_code(self) -> int | None:
        """The exit status, if the job ended its process or raised ``SystemExit``."""
        return self.failure.exit_code

    @property
    def signal(self) -> int | None:
        """The signal that ended the worker's process, if one did."""
        return self.failure.signal

    @property
    def attempt(self) -> int:
        """The number of the attempt that failed; the first is 1."""
        return self.failure.attempt

    @property
    def node(self) -> str | None:
        """The id of the node the attempt ran on."""
        return self.failure.node


class JobAbandoned(JobFailed):
    """A failure mode discarded the job."""


class JobMoved(JobFailed):
    """The job is in another queue now, ``queue``, under the same id."""
