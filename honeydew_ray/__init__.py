"""A job queue and worker pool for Ray clusters, after Elixir's Honeydew.

What is public is imported when it is first asked for: each queue, group and worker is a process of its
own, and one that imported all of it would take twice as long to start.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from honeydew_ray.clock import Clock
    from honeydew_ray.decisions import Decision, Discard, MoveTo, Requeue
    from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
    from honeydew_ray.dispatchers.locality import Locality
    from honeydew_ray.dispatchers.lru import LRU
    from honeydew_ray.dispatchers.lru_node import LRUNode
    from honeydew_ray.dispatchers.mru import MRU
    from honeydew_ray.errors import (
        EnqueueUncertain,
        HoneydewError,
        InsecureCluster,
        InvalidTransition,
        JobAbandoned,
        JobCancelled,
        JobFailed,
        JobInProgress,
        JobMoved,
        JobNotFound,
        PayloadError,
        QueueAlreadyStarted,
        QueueFull,
        QueueLost,
        QueueNotFound,
        QueueSuspended,
        ReplyNotRequested,
        StoreDamaged,
        StoreError,
        StoreInUse,
        StoreUnreachable,
        UnknownMethod,
        WorkersAlreadyStarted,
        WorkersNotFound,
    )
    from honeydew_ray.event_stream import EventStream
    from honeydew_ray.events import Event, EventKind
    from honeydew_ray.failure import Failure
    from honeydew_ray.failure_modes.abandon import Abandon
    from honeydew_ray.failure_modes.base import FailureMode
    from honeydew_ray.failure_modes.exponential_retry import ExponentialRetry
    from honeydew_ray.failure_modes.move import Move
    from honeydew_ray.failure_modes.retry import Retry
    from honeydew_ray.job import CancelOutcome, JobRecord, JobState
    from honeydew_ray.job_handle import Job
    from honeydew_ray.live import LiveView
    from honeydew_ray.metrics import Metrics
    from honeydew_ray.queue import Queue, get_queue, queues, start_queue
    from honeydew_ray.queue_executor import JobFuture, QueueExecutor, executor
    from honeydew_ray.running_job import NotInJob, current_worker, progress
    from honeydew_ray.status import QueueStatus, WorkerState, WorkerStatus
    from honeydew_ray.stores._poll.columns import add_queue_columns, queue_mixin
    from honeydew_ray.stores.base import Store
    from honeydew_ray.stores.memory import MemoryStore
    from honeydew_ray.stores.poll import PollStore
    from honeydew_ray.stores.sqlite import SQLiteStore
    from honeydew_ray.submitter import Submitter
    from honeydew_ray.subscribers.base import Subscriber
    from honeydew_ray.subscribers.log_events import LogEvents
    from honeydew_ray.success_modes.base import SuccessMode
    from honeydew_ray.success_modes.log import Log
    from honeydew_ray.timelines import Timeline, timeline
    from honeydew_ray.worker_groups import start_workers, stop_workers, workers

__version__ = "0.1.0"

__all__ = [
    "LRU", "MRU", "Abandon", "CancelOutcome", "Clock", "Decision", "Discard", "Dispatcher", "EnqueueUncertain", "Event",
    "EventKind", "EventStream", "ExponentialRetry", "Failure", "FailureMode", "HoneydewError", "InsecureCluster",
    "InvalidTransition", "Job", "JobAbandoned", "JobCancelled", "JobFailed", "JobFuture", "JobInProgress", "JobMoved",
    "JobNotFound", "JobRecord", "JobState", "LRUNode", "LiveView", "Locality", "Log", "LogEvents", "MemoryStore", "Metrics",
    "Move", "MoveTo", "NotInJob", "PayloadError", "PollStore", "Queue", "QueueAlreadyStarted", "QueueExecutor", "QueueFull",
    "QueueLost", "QueueNotFound", "QueueStatus", "QueueSuspended", "ReplyNotRequested", "Requeue", "Retry", "SQLiteStore",
    "Store", "StoreDamaged", "StoreError", "StoreInUse", "StoreUnreachable", "Submitter", "Subscriber", "SuccessMode",
    "Timeline", "UnknownMethod", "WorkerRef", "WorkerState", "WorkerStatus", "WorkersAlreadyStarted", "WorkersNotFound",
    "add_queue_columns", "current_worker", "executor", "get_queue", "progress", "queue_mixin", "queues", "start_queue",
    "start_workers", "stop_workers", "timeline", "workers",
]

_HOMES = {  # which module has which names
    "clock": "Clock",
    "decisions": "Decision Discard MoveTo Requeue",
    "dispatchers.base": "Dispatcher WorkerRef",
    "dispatchers.locality": "Locality",
    "dispatchers.lru": "LRU",
    "dispatchers.lru_node": "LRUNode",
    "dispatchers.mru": "MRU",
    "errors":
        "EnqueueUncertain HoneydewError InsecureCluster InvalidTransition JobAbandoned JobCancelled JobFailed JobInProgress JobMoved "
        "JobNotFound PayloadError QueueAlreadyStarted QueueFull QueueLost QueueNotFound QueueSuspended "
        "ReplyNotRequested StoreDamaged StoreError StoreInUse StoreUnreachable UnknownMethod WorkersAlreadyStarted "
        "WorkersNotFound",
    "event_stream": "EventStream",
    "events": "Event EventKind",
    "failure": "Failure",
    "failure_modes.abandon": "Abandon",
    "failure_modes.base": "FailureMode",
    "failure_modes.exponential_retry": "ExponentialRetry",
    "failure_modes.move": "Move",
    "failure_modes.retry": "Retry",
    "job": "CancelOutcome JobRecord JobState",
    "job_handle": "Job",
    "live": "LiveView",
    "metrics": "Metrics",
    "queue": "Queue get_queue queues start_queue",
    "queue_executor": "JobFuture QueueExecutor executor",
    "running_job": "NotInJob current_worker progress",
    "status": "QueueStatus WorkerState WorkerStatus",
    "stores._poll.columns": "add_queue_columns queue_mixin",
    "stores.base": "Store",
    "stores.memory": "MemoryStore",
    "stores.poll": "PollStore",
    "stores.sqlite": "SQLiteStore",
    "submitter": "Submitter",
    "subscribers.base": "Subscriber",
    "subscribers.log_events": "LogEvents",
    "success_modes.base": "SuccessMode",
    "success_modes.log": "Log",
    "timelines": "Timeline timeline",
    "worker_groups": "start_workers stop_workers workers",
}
_NEED_SQL = {"stores.poll", "stores._poll.columns"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> _Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = _import_module(f"{__name__}.{_HOME_OF[name]}")
    except ImportError as error:
        if _HOME_OF[name] not in _NEED_SQL:
            raise
        raise ImportError(f"{name} needs SQLAlchemy, which is not here ({error}): pip install 'honeydew-ray[sql]'") from error
    thing = globals()[name] = getattr(module, name)
    return thing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
