"""Starting and stopping the workers of a queue."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Literal

from honeydew_ray.actors import cluster, groups, names
from honeydew_ray.actors.cluster import NameTaken
from honeydew_ray.actors.worker_actor import WorkerSpec
from honeydew_ray.actors.worker_group import GroupSpec
from honeydew_ray.arguments import expect_flag, expect_name, expect_seconds
from honeydew_ray.errors import WorkersAlreadyStarted, WorkersNotFound
from honeydew_ray.plan_arguments import plan_of
from honeydew_ray.ray_options import options_of
from honeydew_ray.worker_arguments import conduct_of


def start_workers(
    name: str,
    cls: type[Any] | None = None,
    *args: Any,
    num: int | tuple[int, int] | None = None,
    num_per_node: int | None = None,
    nodes: Collection[str] | Mapping[str, str] | None = None,
    group: str = "default",
    ray_options: Mapping[str, Any] | None = None,
    init_retry_s: float = 5.0,
    init_timeout_s: float = 600.0,
    shutdown_s: float = 10.0,
    idle_timeout_s: float = 60.0,
    probe_timeout_s: float = 30.0,
    rebuild: Literal["always", "never"] | None = None,
    prefetch: Literal[1, "auto"] = 1,
    concurrency: int = 1,
    replace: bool = False,
    **kwargs: Any,
) -> None:
    """Start workers for a queue, which need not run yet; returns before they are ready.

    Each worker makes ``cls(*args, **kwargs)`` once and runs jobs on it, one at a time; without
    ``cls`` the workers run plain functions. They live on after this process. Groups of one queue
    share its jobs, whatever their class: a job may go to a worker of any of them.

    ``num`` workers are spread over the cluster; by default as many as it has CPUs free, at least 1.
    ``num=(2, 20)`` grows with the backlog, and shrinks again to those that have not been idle for
    ``idle_timeout_s`` seconds; a running job is never ended for it. ``num_per_node``, instead, keeps
    so many on each node, those that join included. ``nodes`` restricts where: ids, addresses or host
    names, or labels that a node must have, ``nodes={"zone": "a"}``. Each worker reserves one CPU
    unless ``ray_options`` (as for Ray actors: ``num_gpus``, ``memory``, ``resources`` ...) say
    otherwise, and waits, shown as pending and seen by Ray's autoscaler, while there is no room. A
    lost worker is replaced where there is room. The workers of a node that Ray drains take no new
    job, finish what they have before its time is up, and are replaced at once.

    A worker whose ``__init__`` raises takes no job and tries again after ``init_retry_s`` seconds;
    a classmethod ``init_failed(cls, error)`` is asked first and may return other seconds. One whose
    ``__init__`` takes longer than ``init_timeout_s`` is killed. ``shutdown_s`` is how long a job in
    hand may go on when the workers are stopped. ``rebuild``: whether the state is made anew after a
    job failed, since it may have spoilt it; the default is "always" for workers that run one job at a
    time, "never" for others. A worker that neither answers nor computes for ``probe_timeout_s``
    seconds is killed and replaced, and its job redelivered.

    ``prefetch="auto"`` sends a worker several jobs in one call while jobs of their methods have been
    short: up to 256, and up to 20 ms of work by what was measured. They still run one at a time.

    ``concurrency``: how many jobs a worker runs at once, for methods that are ``async def`` and wait
    a lot. A class with such methods lives on an event loop, ``__init__`` too; a method that is not
    ``async def`` holds the loop up while it runs. Of several jobs at once, one that is cancelled or
    exceeds its time is stopped by a ``CancelledError`` where it waits; a worker that goes on with it
    for 5 s is killed.

    ``replace=True``: if the group runs already, stop it as `stop_workers` does and start it anew; so a
    notebook's cell can be run again after its class was changed, and the new class is used.

    >>> start_workers("photos", Classifier, num=1, group="more", ray_options={"num_cpus": 0.5})
    >>> stop_workers("photos", "more")

    Raises `WorkersAlreadyStarted`; `PayloadError` if the class or its arguments cannot be pickled;
    `TypeError` if the arguments do not fit ``__init__``.
    """
    expect_name("start_workers", "name", name)
    expect_name("start_workers", "group", group)
    conduct = conduct_of(cls, args, kwargs, rebuild=rebuild, prefetch=prefetch, concurrency=concurrency, init_retry_s=init_retry_s,
                         init_timeout_s=init_timeout_s, shutdown_s=shutdown_s, probe_timeout_s=probe_timeout_s)
    expect_flag("start_workers", "replace", replace)
    options = options_of("start_workers", ray_options)
    plan = plan_of(num, num_per_node, nodes, options, expect_seconds("start_workers", "idle_timeout_s", idle_timeout_s))
    if plan.labels:
        options["label_selector"] = dict(plan.labels)
    cluster.connect()
    if num is None and num_per_node is None:
        free = cluster.free_cpus()
        plan = dataclasses.replace(plan, least=free, most=free)
    spec = GroupSpec(
        queue=name, group=group, plan=plan, worker=WorkerSpec(name, conduct.state, conduct.rebuild, concurrency, conduct.on_loop),
        class_name=conduct.class_name, methods=conduct.methods, init_retry_s=conduct.init_retry_s, init_timeout_s=conduct.init_timeout_s,
        shutdown_s=conduct.shutdown_s, probe_timeout_s=conduct.probe_timeout_s, ray_options=options, prefetch=conduct.prefetch,
    )
    groups.start(_create(spec, replace))


def _create(spec: GroupSpec, replace: bool) -> Any:
    try:
        return groups.create(spec)
    except NameTaken:  # known only after everything else about the new group was found to be in order
        if replace:
            with contextlib.suppress(WorkersNotFound):  # it stopped meanwhile
                stop_workers(spec.queue, spec.group)
            return _create(spec, replace=False)
        raise WorkersAlreadyStarted(
            f"worker group {spec.group!r} of queue {spec.queue!r} runs already; replace=True starts it anew, "
            "stop_workers stops it, group= names another") from None


def stop_workers(name: str, group: str = "default") -> None:
    """Stop a group of workers, and return when they are gone.

    Jobs in hand have the group's ``shutdown_s`` to finish; then they go back to the queue.
    Raises `WorkersNotFound`.
    """
    expect_name("stop_workers", "name", name)
    expect_name("stop_workers", "group", group)
    cluster.connect()
    groups.stop(cluster.find_group(name, group), name, group)


def workers() -> list[str]:
    """The names of the queues that workers were started for.

    >>> "photos" in workers()
    True
    """
    cluster.connect()
    return sorted({queue for queue, _ in names.groups_among(cluster.actor_names())})
