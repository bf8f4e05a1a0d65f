"""The cluster itself: joining it, leaving it, finding actors in it."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import time
import warnings
from collections.abc import Generator
from typing import Any, cast

import ray
import ray._private.worker
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray._private.services import canonicalize_bootstrap_address
from ray._private.state import actors as actor_table  # pyright: ignore
from ray.experimental import internal_kv
from ray.util import list_named_actors  # pyright: ignore[reportUnknownVariableType]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from honeydew_ray.actors import names
from honeydew_ray.errors import HoneydewError, QueueNotFound, WorkersNotFound

_GONE_TIMEOUT_S = 30.0
_REACH_S = 5.0


def connect(address: str | None = None, **init_options: Any) -> bool:
    """Make sure that this process is connected to Ray; True if it connected just now.

    Connects as ``ray.init()`` does: to the cluster at ``address``, to the one that ``RAY_ADDRESS``
    names, to one that runs on this machine, or else to a new one that lives as long as this
    process. ``address="local"`` always starts a new one. Unlike there, the token that ``ray start`` made this
    machine's clusters ask for is shown to one whose address is given, too.
    """
    if ray.is_initialized():
        return False
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    if wanted not in ("auto", "local"):
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    options: dict[str, Any] = {"log_to_driver": True, **init_options}
    ray.init(address=address, **options)  # pyright: ignore[reportUnknownMemberType]
    return True


class ClusterNotFound(HoneydewError):
    """No Ray cluster runs where it was looked for."""


def join(address: str | None = None) -> None:
    """Connect to a cluster that runs: at ``address``, where ``RAY_ADDRESS`` says, or on this machine; never start one.

    Quiet: nothing that workers print comes here. Raises `ClusterNotFound`.
    """
    if ray.is_initialized():
        return
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    if wanted == "local":
        raise ClusterNotFound('the address is "local", which means a new Ray; give that of one that runs, such as --address 127.0.0.1:6379')
    logging.getLogger("ray").setLevel(logging.ERROR)
    _expect_somebody(_on_this_machine() if wanted == "auto" else wanted)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as `ray start` does; a cluster that wants one waits for it
    try:
        ray.init(address=wanted, log_to_driver=False, logging_level=logging.ERROR)  # pyright: ignore[reportUnknownMemberType]
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterNotFound(f"the Ray cluster at {wanted} could not be joined: {_first_line(error)}") from error


def _on_this_machine() -> str:
    """The address of the cluster that Ray would join here; of one that was not stopped properly, too."""
    try:
        return str(canonicalize_bootstrap_address("auto"))
    except ConnectionError as error:
        raise ClusterNotFound(f"no Ray cluster was found on this machine: {_first_line(error)}") from None


def _expect_somebody(address: str) -> None:
    """Ray itself tries for a minute to reach an address where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterNotFound(f"no Ray cluster answers at {address}: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def address() -> str:
    """Where another process finds the cluster that this one is connected to, as ``host:port``."""
    return str(ray.get_runtime_context().gcs_address)


def exposure() -> str | None:
    """How the cluster lets strangers in, by what this process of it knows: it asks for no token, and other machines may reach it.

    None if it does not.
    """
    at = address()
    host = at.rpartition(":")[0].strip("[]")
    try:
        reached = not ipaddress.ip_address(host).is_loopback
    except ValueError:
        reached = host != "localhost"
    if is_token_auth_enabled() or not reached:
        return None
    return (f"the Ray cluster at {at} asks for no token: whoever reaches that address over the network can run code in it. "
            "Start its nodes with RAY_AUTH_MODE=token")


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


def node_of(actor: Any) -> str:
    """The node of an actor's latest process; empty if it has had none. Blocks for a call to the head node."""
    return str(_entry(actor).get("Address", {}).get("NodeID", ""))


def state_of(actor: Any) -> str | None:
    """Ray's name for the state of an actor; None if Ray does not know it. Blocks for a call to the head node."""
    return _entry(actor).get("State")


def _entry(actor: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", actor_table(actor._actor_id.hex()))  # pyright: ignore


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
