"""The public names, on purpose."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import honeydew_ray as honeydew

PUBLIC = """
Abandon CancelOutcome Clock Decision Discard Dispatcher EnqueueUncertain ExponentialRetry Failure FailureMode HoneydewError
InvalidTransition Job JobAbandoned JobCancelled JobFailed JobInProgress JobMoved JobNotFound JobRecord JobState LRU LRUNode Log
MRU MemoryStore Move MoveTo NotInJob PayloadError Queue QueueAlreadyStarted QueueFull QueueLost QueueNotFound QueueStatus
QueueSuspended ReplyNotRequested Requeue Retry Store Submitter SuccessMode UnknownMethod WorkerRef WorkerState WorkerStatus
WorkersAlreadyStarted WorkersNotFound current_worker get_queue progress queues start_queue start_workers stop_workers workers
LiveView JobFuture Locality QueueExecutor SQLiteStore StoreDamaged StoreError StoreInUse executor
PollStore StoreUnreachable add_queue_columns queue_mixin
InsecureCluster
Event EventKind EventStream LogEvents Metrics Subscriber Timeline timeline
"""


def test_the_public_names_are_these() -> None:
    assert sorted(honeydew.__all__) == sorted(PUBLIC.split())


def test_no_module_hides_a_public_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(honeydew.__path__)}
    assert not modules & set(honeydew.__all__), "importing the module would put it in the name's place"


def test_a_name_that_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'honeydew_ray' has no attribute 'start_kue'"):
        honeydew.start_kue  # noqa: B018  # pyright: ignore
    assert set(honeydew.__all__) <= set(dir(honeydew))


def test_a_worker_imports_only_what_it_needs() -> None:
    """Each worker is a process: what it imports, it waits for as it starts."""
    code = "import ray, sys; before = set(sys.modules); import honeydew_ray.actors.worker_actor; print(*sorted(set(sys.modules) - before))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in imported if name.startswith("honeydew_ray.")}
    assert "honeydew_ray.running_job" in ours
    assert not ours & {"honeydew_ray.queue", "honeydew_ray.queue_core", "honeydew_ray.job_handle", "honeydew_ray.stores"}
    assert not {"numpy", "sqlalchemy", "matplotlib", "IPython"} & set(imported)


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
