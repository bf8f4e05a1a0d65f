"""Making the actor of a worker, where its supervisor wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from honeydew_ray.actors import names
from honeydew_ray.actors.worker_actor import WorkerActor, WorkerSpec
from honeydew_ray.actors.wrapping import wrapped_with_control
from honeydew_ray.placement import ANYWHERE, Place

_CONTROL_THREADS = 8


def hire(worker_id: str, spec: WorkerSpec, ray_options: Mapping[str, Any], place: Place) -> Any:
    """Start a worker's process; its handle, at once."""
    return _worker_class(spec, ray_options, names.worker_actor(worker_id), place).remote(worker_id, spec)


def check(spec: WorkerSpec, ray_options: Mapping[str, Any]) -> None:
    """Raises what Ray raises for options that it does not take."""
    _worker_class(spec, ray_options, "check", ANYWHERE)


def _worker_class(spec: WorkerSpec, ray_options: Mapping[str, Any], name: str, place: Place) -> Any:
    options: dict[str, Any] = {"num_cpus": 1, "max_concurrency": spec.concurrency, **ray_options}
    options.setdefault("scheduling_strategy", _strategy(place))
    wrapper = wrapped_with_control(WorkerActor, _CONTROL_THREADS + spec.concurrency - 1)  # each job in hand may be waited for
    return wrapper.options(
        name=name, namespace=names.NAMESPACE, lifetime="detached", max_restarts=0, max_task_retries=0, enable_task_events=False, **options)


def _strategy(place: Place) -> Any:
    if place.node is None:
        return "SPREAD"
    return NodeAffinitySchedulingStrategy(place.node, soft=not place.only, _spill_on_unavailable=not place.only)
