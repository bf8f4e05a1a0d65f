"""The cluster itself: joining it, leaving it, finding actors in it."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Generator
from typing import Any, cast

import ray
import ray._private.worker
from ray.experimental import internal_kv
from ray.util import list_named_actors  # pyright: ignore[reportUnknownVariableType]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from honeydew_ray.actors import names
from honeydew_ray.errors import HoneydewError, QueueNotFound, WorkersNotFound

_GONE_TIMEOUT_S = 30.0


def connect(address: str | None = None, **init_options: Any) -> bool:
    """Make sure that this process is connected to Ray; True if it connected just now.

    Connects as ``ray.init()`` does: to the cluster at ``address``, to the one that ``RAY_ADDRESS``
    names, to one that runs on this machine, or else to a new one that lives as long as this
    process. ``address="local"`` always starts a new one.
    """
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"log_to_driver": True, **init_options}
    ray.init(address=address, **options)  # pyright: ignore[reportUnknownMemberType]
    return True


def disconnect() -> None:
    """Leave the cluster, and end it if this process started it."""
    ray.shutdown()


@contextlib.contextmanager
def held_open() -> Generator[bool, None, None]:
    """Whether this process is connected to Ray; no thread of it can shut Ray down meanwhile.

    A thread that calls Ray as another shuts it down ends the whole process: Ray exits then. So a
    thread of ours makes its calls in here, which must be short.
    """
    lock: Any = getattr(ray._private.worker, "_connect_or_shutdown_lock", None) or contextlib.nullcontext()  # pyright: ignore
    with lock:
        yield ray.is_initialized()


def actor_names() -> list[str]:
    """The names of all live actors of Honeydew in the cluster."""
    found = cast("list[dict[str, str]]", list_named_actors(all_namespaces=True))
    return [entry["name"] for entry in found if entry["namespace"] == names.NAMESPACE]


def find_queue(queue: str) -> Any:
    """The handle of a queue's actor; raises `QueueNotFound`."""
    try:
        return ray.get_actor(names.queue_actor(queue), namespace=names.NAMESPACE)
    except ValueError:
        running = names.queues_among(actor_names())
        there = f"running: {', '.join(running)}" if running else "no queue runs"
        raise QueueNotFound(f'no queue {queue!r} in this cluster ({there}); start it with start_queue("{queue}")') from None


def find_group(queue: str, group: str) -> Any:
    """The handle of a worker group's actor; raises `WorkersNotFound`."""
    try:
        return ray.get_actor(names.group_actor(queue, group), namespace=names.NAMESPACE)
    except ValueError:
        raise WorkersNotFound(f"no worker group {group!r} runs for queue {queue!r}") from None


def find_worker(worker_id: str) -> Any:
    """The handle of a worker's actor; None if it is gone."""
    try:
        return ray.get_actor(names.worker_actor(worker_id), namespace=names.NAMESPACE)
    except ValueError:
        return None


class NameTaken(HoneydewError):
    """An actor of that name lives already."""


def create_named(actor_class: Any, name: str, options: dict[str, Any], *args: Any) -> Any:
    """Start a detached actor under its name; raises `NameTaken`, or what Ray raises for options it does not take."""
    configured = actor_class.options(name=name, namespace=names.NAMESPACE, lifetime="detached", **options)
    try:
        return configured.remote(*args)
    except ValueError as error:
        if name in actor_names():
            raise NameTaken(f"an actor {name!r} lives already") from error
        raise


def end_actor(handle: Any, name: str) -> None:
    """Kill an actor for good and return when its name is free again."""
    with contextlib.suppress(Exception):  # dead already
        ray.kill(handle, no_restart=True)
    deadline = time.monotonic() + _GONE_TIMEOUT_S
    pause_s = 0.002
    while name in actor_names():
        if time.monotonic() > deadline:
            raise HoneydewError(f"actor {name!r} was killed, but Ray still lists it after {_GONE_TIMEOUT_S:g} s")
        time.sleep(pause_s)  # Ray has no signal for "this name is free"
        pause_s = min(pause_s * 2, 0.1)


def node_is_alive(node: str) -> bool:
    """Whether Ray counts a node as alive. Blocks for a call to the head node."""
    nodes = cast("list[dict[str, Any]]", ray.nodes())
    return any(entry["NodeID"] == node and entry["Alive"] for entry in nodes)


def actor_was_restarted() -> bool:
    """Whether the actor of this process had a process before."""
    with warnings.catch_warnings():  # Ray's own code in there uses a name that Ray deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def stay_here() -> Any:
    """The scheduling strategy that keeps an actor on this process's node, and off every other."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def remember_flag(name: str, value: bool) -> None:
    """Keep a flag in the cluster, outside any process of ours. Blocks for a call to the head node."""
    key = f"honeydew flag {name}".encode()
    if value:
        internal_kv._internal_kv_put(key, b"1")  # pyright: ignore
    else:
        internal_kv._internal_kv_del(key)  # pyright: ignore


def flag_is_set(name: str) -> bool:
    """Whether a flag is kept in the cluster. Blocks for a call to the head node."""
    return internal_kv._internal_kv_get(f"honeydew flag {name}".encode()) is not None  # pyright: ignore


def free_cpus() -> int:
    """The CPUs that nobody has reserved, at least 1."""
    free = cast("dict[str, float]", ray.available_resources())
    return max(1, int(free.get("CPU", 0)))
