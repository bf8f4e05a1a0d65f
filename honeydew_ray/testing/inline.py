"""Queues without Ray: the same rules, in this process, under a clock that does not wait."""

from __future__ import annotations

import asyncio
import functools
import inspect
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from honeydew_ray.arguments import expect_flag, expect_name, expect_seconds, refuse
from honeydew_ray.dispatchers.base import Dispatcher
from honeydew_ray.errors import QueueAlreadyStarted, QueueNotFound, WorkersAlreadyStarted, WorkersNotFound
from honeydew_ray.event_log import DEFAULT_KEPT
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.judge import NodeLoss
from honeydew_ray.placement import Plan
from honeydew_ray.plan_arguments import plan_of
from honeydew_ray.policies import InlineCaller, tell_success
from honeydew_ray.queue_arguments import expect_instance, expect_subscribers, policy_of
from honeydew_ray.queue_core import QueueCore, QueuePolicy
from honeydew_ray.ray_options import options_of
from honeydew_ray.stores.base import Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.subscribers.base import Subscriber
from honeydew_ray.success_modes.base import SuccessMode
from honeydew_ray.testing.audience import Audience
from honeydew_ray.testing.inline_group import InlineGroup
from honeydew_ray.testing.inline_queue import InlineClient, InlineQueue, worlds
from honeydew_ray.testing.inline_workers import InlineSpec, InlineWorkers
from honeydew_ray.testing.stage import Stage
from honeydew_ray.testing.virtual_time import DeadlockError
from honeydew_ray.worker_arguments import conduct_of
from honeydew_ray.worker_groups import start_workers


class Inline:
    """Stands in for the module ``honeydew_ray`` in a test: ``start_queue``, ``get_queue``, ``start_workers`` and the rest, without Ray.

    Queues decide by the very code that decides on Ray. Jobs run in the thread of whoever waits for them - `Job.result`, ``map``,
    ``stop(drain=True)`` - or when told to: ``step()``, ``run()``, ``advance(seconds)``; never by themselves. Arguments and results are
    pickled on the way, as on Ray. Time is virtual: an hour's delay passes at once when somebody waits for it, and a job takes no time,
    unless it exceeds its ``timeout_s`` in earnest. ``os._exit`` and signals to the own process, in a job, are acted out: the worker dies.

    What differs: one job runs at a time, whatever ``num`` and ``concurrency`` are; a job that never returns is not killed; waiting
    for what cannot come raises `DeadlockError` instead of waiting for ever; stores are in memory; placement is ignored; a worker's
    class is not copied into another process, so what it keeps in globals is shared; nor is a subscriber, which is told in the thread
    of whoever drives the queues.

    >>> import math
    >>> with Inline() as honeydew:
    ...     queue = honeydew.start_queue("numbers")
    ...     queue.start_workers()
    ...     job = queue.options(delay_s=3600).submit(math.sqrt, 49)
    ...     print(job.state, job.result())
    delayed 7.0
    """

    def __init__(self) -> None:
        self.key = uuid.uuid4().hex
        worlds[self.key] = self
        self._stage = Stage()
        self._cores: dict[str, QueueCore] = {}
        self._clients: dict[str, InlineClient] = {}
        self._groups: dict[tuple[str, str], InlineGroup] = {}
        self._workers = InlineWorkers(self._stage, self._cores)
        self._audience = Audience()

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, at once: what waits is forgotten."""
        worlds.pop(self.key, None)
        self._workers.close()
        self._stage.close()

    # -- what honeydew_ray has -----------------------------------------------------------------------

    def start_queue(self, name: str, *, store: Store | None = None, dispatcher: Dispatcher | None = None,
                    failure_mode: FailureMode | None = None, success_mode: SuccessMode | None = None, suspended: bool | None = None,
                    result_ttl_s: float = 600.0, max_redeliveries: int = 20, max_pending: int | None = None,
                    node_loss: NodeLoss = "redeliver", subscribers: Iterable[Subscriber] = (), events_kept: int = DEFAULT_KEPT,
                    strict_security: bool = False, ray_options: Mapping[str, Any] | None = None) -> InlineQueue:
        """Start a queue here: see `honeydew.start_queue`. Raises ``ValueError`` for a store that needs a disk.

        There is one node, which is never lost: ``node_loss``, ``strict_security`` and ``ray_options`` are checked, and mean nothing.
        """
        policy = policy_of(name, dispatcher, failure_mode, suspended, result_ttl_s=result_ttl_s, max_redeliveries=max_redeliveries,
                           max_pending=max_pending, node_loss=node_loss, events_kept=events_kept)
        expect_instance("store", store, Store, "MemoryStore()")
        expect_instance("success_mode", success_mode, SuccessMode, "Log()")
        expect_flag("start_queue", "strict_security", strict_security)
        options_of("start_queue", ray_options)
        listeners = expect_subscribers(subscribers)
        if name in self._cores:
            raise QueueAlreadyStarted(f'queue {name!r} runs already; get_queue("{name}") finds it')
        if store is not None and store.durable:
            raise refuse("start_queue", "store", store, "a store in memory, as inline queues end with the test", "store=MemoryStore()")
        tell = None if success_mode is None else functools.partial(tell_success, success_mode)
        self._stage.finish(self._open(policy, MemoryStore() if store is None else store, tell))
        self._audience.join(listeners, self._cores[name].events)
        queue = InlineQueue(self, self._clients[name])
        self._audience.tell()
        return queue

    async def _open(self, policy: QueuePolicy, store: Store, tell: Any) -> None:
        core = QueueCore(policy, store, self._workers, InlineCaller(), self._stage.clock, tell)
        await core.open()
        self._cores[policy.name] = core
        client = self._clients[policy.name] = InlineClient(self, policy.name, core.incarnation)
        core.replies.deliver = client.take_in
        for (queue, _), group in self._groups.items():
            if queue == policy.name:
                self._stage.spawn(group.attend(core))

    def get_queue(self, name: str) -> InlineQueue:
        """A handle on a queue that runs here; raises `QueueNotFound`."""
        return InlineQueue(self, self.client_of(expect_name("get_queue", "name", name)))

    def queues(self) -> list[str]:
        """The names of the queues that run here."""
        return sorted(self._cores)

    def start_workers(self, name: str, cls: type[Any] | None = None, *args: Any, **options: Any) -> None:
        """Start workers: see `honeydew.start_workers`. ``num`` is 1 by default; their states are made before this returns."""
        given = inspect.signature(start_workers).bind(name, cls, *args, **options)
        given.apply_defaults()
        spec = _spec_of(given.arguments)
        key = spec.queue, spec.group
        if key in self._groups and not given.arguments.get("replace"):
            raise WorkersAlreadyStarted(f"worker group {spec.group!r} of queue {name!r} runs already; stop it with stop_workers")
        if key in self._groups:
            self.stop_workers(*key)
        group = self._groups[key] = InlineGroup(self._stage, self._workers, spec, self._cores.get)
        self._stage.finish(group.start())
        core = self._cores.get(name)
        if core is not None:
            self._stage.spawn(group.attend(core))
        self._stage.step(jobs=False)
        self._audience.tell()

    def stop_workers(self, name: str, group: str = "default") -> None:
        """Stop a group of workers: see `honeydew.stop_workers`. Raises `WorkersNotFound`."""
        found = self._groups.pop((name, group), None)
        if found is None:
            raise WorkersNotFound(f"no worker group {group!r} runs for queue {name!r}")
        self.finish(found.stop())

    def workers(self) -> list[str]:
        """The names of the queues that workers were started for."""
        return sorted({queue for queue, _ in self._groups})

    # -- what only a test has ------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The virtual wall clock, in seconds since the epoch."""
        return self._stage.clock.now()

    def step(self) -> bool:
        """Run the next attempt that is due now; whether there was one. No time passes."""
        ran = self._stage.step()
        self._audience.tell()
        return ran

    def run(self) -> int:
        """Run what is due now, retries that are due at once too, until nothing is; how many attempts ran. No time passes."""
        ran = 0
        while self.step():
            ran += 1
        return ran

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, running what becomes due on the way."""
        self.run()
        self.finish(asyncio.sleep(expect_seconds("advance", "seconds", seconds)))
        self.run()

    # -- for its handles -----------------------------------------------------------------------------

    def client_of(self, name: str) -> InlineClient:
        """The client of a queue that runs here; raises `QueueNotFound`."""
        self.core_of(name)
        return self._clients[name]

    def core_of(self, name: str) -> QueueCore:
        """The core of a queue that runs here; raises `QueueNotFound`."""
        core = self._cores.get(name)
        if core is None:
            there = f"running: {', '.join(self._cores)}" if self._cores else "no queue runs"
            raise QueueNotFound(f'no queue {name!r} here ({there}); start it with start_queue("{name}")')
        return core

    def finish(self, work: Any) -> Any:
        """Run a coroutine to its end, with what is due meanwhile; subscribers are told. Raises `DeadlockError` if that can never be."""
        try:
            return self._stage.finish(work)
        except DeadlockError:
            states = "; ".join(self._sketch(name, core) for name, core in self._cores.items())
            text = f"this would wait for ever: nothing is left to run, and nothing is due later ({states or 'no queue runs'})"
            raise DeadlockError(text) from None
        finally:
            self._audience.tell()

    def groups_of(self, name: str) -> list[str]:
        """The groups of a queue's workers."""
        return [group for queue, group in self._groups if queue == name]

    def end(self, name: str) -> None:
        """Close a queue: its name is free again, and its subscribers hear the last of it. Raises `QueueNotFound`."""
        self.finish(self._close(self.core_of(name)))

    async def _close(self, core: QueueCore) -> None:
        await core.close()
        del self._cores[core.name], self._clients[core.name]

    def _sketch(self, name: str, core: QueueCore) -> str:
        ready = core.workforce.ready()
        return f"queue {name!r}: {'suspended, ' if core.suspended else ''}{ready} ready worker(s)"


def _spec_of(given: Mapping[str, Any]) -> InlineSpec:
    """What the arguments of `honeydew.start_workers` mean here; those that place workers in a cluster mean nothing."""
    name = expect_name("start_workers", "name", given["name"])
    conduct = conduct_of(
        given["cls"], given["args"], given["kwargs"],
        rebuild=given["rebuild"], prefetch=given["prefetch"], concurrency=given["concurrency"], init_retry_s=given["init_retry_s"],
        init_timeout_s=given["init_timeout_s"], shutdown_s=given["shutdown_s"], probe_timeout_s=given["probe_timeout_s"])
    options = options_of("start_workers", given["ray_options"])
    idle_timeout_s = expect_seconds("start_workers", "idle_timeout_s", given["idle_timeout_s"])
    plan = plan_of(given["num"], given["num_per_node"], given["nodes"], options, idle_timeout_s)
    num = plan.per_node or max(plan.least, 1)  # there is one node, and no more workers than need be
    return InlineSpec(
        queue=name,
        group=expect_name("start_workers", "group", given["group"]),
        plan=Plan(least=num, most=num),
        state=conduct.state,
        class_name=conduct.class_name,
        methods=conduct.methods,
        rebuild=conduct.rebuild == "always",
        on_loop=conduct.on_loop,
        prefetch=conduct.prefetch,
        concurrency=conduct.concurrency,
        init_retry_s=conduct.init_retry_s,
        shutdown_s=conduct.shutdown_s,
    )
