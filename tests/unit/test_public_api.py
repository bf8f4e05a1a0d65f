"""The public names, on purpose."""

from __future__ import annotations

import honeydew_ray as honeydew

PUBLIC = """
Abandon CancelOutcome Clock Decision Discard Dispatcher EnqueueUncertain ExponentialRetry Failure FailureMode HoneydewError
InvalidTransition Job JobAbandoned JobCancelled JobFailed JobInProgress JobMoved JobNotFound JobRecord JobState LRU LRUNode Log
MRU MemoryStore Move MoveTo NotInJob PayloadError Queue QueueAlreadyStarted QueueFull QueueLost QueueNotFound QueueStatus
QueueSuspended ReplyNotRequested Requeue Retry Store Submitter SuccessMode UnknownMethod WorkerRef WorkerState WorkerStatus
WorkersAlreadyStarted WorkersNotFound current_worker get_queue progress queues start_queue start_workers stop_workers workers
LiveView JobFuture Locality QueueExecutor SQLiteStore StoreDamaged StoreError StoreInUse executor
PollStore StoreUnreachable add_queue_columns queue_mixin
Event EventKind EventStream LogEvents Metrics Subscriber Timeline timeline
"""


def test_the_public_names_are_these() -> None:
    assert sorted(honeydew.__all__) == sorted(PUBLIC.split())


def test_every_public_name_is_there_and_says_what_it_is_for() -> None:
    for name in honeydew.__all__:
        thing = getattr(honeydew, name)
        assert name == "Decision" or (thing.__doc__ or "").strip(), f"{name} has no docstring"


def test_every_public_method_of_the_handles_has_a_docstring() -> None:
    for handle in (honeydew.Queue, honeydew.Submitter, honeydew.Job):
        for name, member in vars(handle).items():
            if not name.startswith("_"):
                documented = member.fget if isinstance(member, property) else member
                assert (documented.__doc__ or "").strip(), f"{handle.__name__}.{name} has no docstring"
