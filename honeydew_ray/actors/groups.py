"""A worker group's actor, from outside: making it, having it begin, ending it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from honeydew_ray.actors import cluster, hiring, keeping, names
from honeydew_ray.actors.away import is_away
from honeydew_ray.actors.ray_transport import unwrapped
from honeydew_ray.actors.worker_group import GroupSpec, WorkerGroup
from honeydew_ray.actors.wrapping import wrapped
from honeydew_ray.errors import HoneydewError
from honeydew_ray.failure import exception_text

_LOOK_AGAIN_S = 0.25


def create(spec: GroupSpec) -> Any:
    """Start a group's actor under its name.

    Raises `NameTaken` if a group of that name runs, `ValueError` or `TypeError` for options that Ray does not take.
    """
    hiring.check(spec.worker, spec.ray_options)
    name = names.group_actor(spec.queue, spec.group)
    options: dict[str, Any] = {
        "num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 1000, "enable_task_events": False,
    }
    kept = None
    if spec.worker.state is not None and len(spec.worker.state) > keeping.LARGE_BYTES:
        kept = keeping.keep(spec.worker.state)
        spec = replace(spec, kept=kept, worker=replace(spec.worker, state=None))
    try:
        return cluster.create_named(wrapped(WorkerGroup), name, options, spec)
    except BaseException:
        if kept is not None:
            kept.drop()
        raise


def start(actor: Any) -> None:
    """Have a new group begin; returns before its workers are up."""
    try:
        ray.get(actor.start.remote())
    except RayError as error:
        if not is_away(actor, error):  # else it begins by itself, too
            raise


def stop(actor: Any, queue: str, group: str) -> None:
    """End a group's workers, then the group. Raises `HoneydewError` if it could not end them; then it is there for another try."""
    while True:
        try:
            ray.get(actor.stop.remote())
        except RayError as error:
            if is_away(actor, error):  # Ray restarts it: its workers live, and only it knows them
                time.sleep(_LOOK_AGAIN_S)
            elif isinstance(error, RayTaskError):  # it lives, and so may its workers, whom nobody else would ever end
                text = f"the workers of group {group!r} of queue {queue!r} could not all be ended, so the group is still there; try again"
                raise HoneydewError(f"{text} ({exception_text(unwrapped(error)).splitlines()[-1]})") from error
            else:  # gone already
                break
        else:
            break
    cluster.end_actor(actor, names.group_actor(queue, group))
