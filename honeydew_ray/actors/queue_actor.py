"""A queue's process: the deciding core, and the calls that reach it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from honeydew_ray import payload
from honeydew_ray.actors import cluster, keeping, names, objects
from honeydew_ray.actors.keeping import Kept
from honeydew_ray.actors.ray_transport import RayTransport
from honeydew_ray.actors.wire import pack, unpack
from honeydew_ray.actors.wrapping import wrapped
from honeydew_ray.clock import SystemClock
from honeydew_ray.errors import InsecureCluster
from honeydew_ray.feed import Feed, farewell
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobSnapshot
from honeydew_ray.payload import Buffer, Payload
from honeydew_ray.policies import SuccessTeller, ThreadCaller
from honeydew_ray.protocol import Collected, QueueInfo, Row, Submission, new_job
from honeydew_ray.queue_core import QueueCore, QueuePolicy
from honeydew_ray.readiness import ready_within
from honeydew_ray.roster import Load, Roster, Spoilt
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Page, Query, Store
from honeydew_ray.subscribers.base import Subscriber
from honeydew_ray.success_modes.base import SuccessMode

log = logging.getLogger("honeydew_ray")

_COLLECT_EVERY = (50_000, 20, 100)  # a full collection looks at every job of the backlog, and jobs are in no cycles


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What a queue's process is made from, each time it starts."""

    policy: QueuePolicy
    store: Store
    success_mode: SuccessMode | None
    subscribers: tuple[Subscriber, ...] = ()
    strict_security: bool = False


class QueueActor:
    """Carries calls to the core, which starts with the first one, after a crash too."""

    def __init__(self, given: QueueSpec | Kept) -> None:
        _show_log()
        gc.freeze()
        gc.set_threshold(*_COLLECT_EVERY)
        self._kept = given if isinstance(given, Kept) else None
        spec: QueueSpec = payload.loads(given.load()) if isinstance(given, Kept) else given
        restarted = cluster.actor_was_restarted()
        self._spec = _restarted(spec) if restarted else spec
        if not restarted and spec.store.outside and spec.policy.suspended is None:
            self._spec = replace(spec, policy=replace(spec.policy, suspended=False))
        self._opening: asyncio.Future[QueueCore] | None = None
        self._opened: QueueCore | None = None
        self._keep: Callable[[Sequence[Any]], tuple[Buffer, ...]] = objects.hold if spec.store.durable else objects.own
        self._transport = RayTransport()
        self._clock = SystemClock()
        self._feeds: list[asyncio.Task[None]] = []

    async def start(self) -> QueueInfo:
        """Open the store; what it raises is the caller's."""
        core = await self._core()
        return QueueInfo(core.incarnation, self._spec.store.durable, self._spec.policy.max_pending)

    # -- jobs ----------------------------------------------------------------------------------

    async def enqueue(self, submission: bytes, *buffers: Any) -> str:
        """Take custody of new jobs, a packed `Submission` and its `Row`s; the incarnation that did."""
        core = await self._core()
        given, rows = unpack(submission)
        common = Submission(*given)
        now = self._clock.now()
        owned = iter(self._keep(buffers)) if buffers else iter(())
        jobs = [new_job(self._spec.policy.name, common, Row(*row), owned, now) for row in rows]
        await core.enqueue(jobs, patience_s=common.patience_s)
        return core.incarnation

    async def arrive(self, jobs: Sequence[JobRecord], counts: Sequence[int], *buffers: Any) -> None:
        """Take custody of jobs from another queue; ``counts`` says how many of the buffers are whose."""
        core = await self._core()
        owned = iter(self._keep(buffers))
        filled = [job._replace(payload=Payload(job.payload.data, tuple(next(owned) for _ in range(count))))
                  for job, count in zip(jobs, counts, strict=True)]
        await core.enqueue(filled, moved=True)

    async def cancel(self, job_id: JobId, running: bool) -> CancelOutcome:
        return await (await self._core()).cancel(job_id, running)

    async def move(self, job_id: JobId, queue: str) -> None:
        await (await self._core()).move(job_id, queue)

    async def retry(self, job_id: JobId) -> None:
        await (await self._core()).retry(job_id)

    async def describe(self, job_id: JobId) -> JobSnapshot | None:
        return await (await self._core()).describe(job_id)

    async def page(self, query: Query, cursor: Any, limit: int) -> Page:
        return await (await self._core()).page(query, cursor, limit)

    async def listing(self, query: Query, cursor: Any, limit: int) -> Page:
        return await (await self._core()).listing(query, cursor, limit)

    # -- the queue -----------------------------------------------------------------------------

    async def status(self) -> QueueStatus:
        return replace(await (await self._core()).status(), pid=os.getpid())

    async def suspend(self) -> None:
        core = await self._core()
        await self._remember(True)  # first: if the process is lost in between, it is back suspended, which nobody was promised it is not
        await core.suspend()

    async def resume(self) -> None:
        await (await self._core()).resume()
        await self._remember(False)

    async def wake(self) -> None:
        (await self._core()).wake()

    async def drain(self, timeout_s: float | None) -> None:
        await (await self._core()).drain(timeout_s)

    async def close(self) -> None:
        try:
            await (await self._core()).close()
            await self._remember(False)
            await farewell(self._feeds)
        finally:  # whoever stops the queue ends it, even if it could not close its store
            if self._kept is not None:
                with contextlib.suppress(Exception):  # the head node is away: it is kept for nothing
                    await asyncio.to_thread(self._kept.drop)

    async def wait_for_workers(self, num: int, patience_s: float) -> bool:
        return await ready_within((await self._core()).workforce, num, patience_s)

    # -- waiting clients -----------------------------------------------------------------------

    async def expect(self, job_ids: Sequence[JobId], client: str) -> list[JobId]:
        return await (await self._core()).expect(job_ids, client)

    async def collect(self, client: str, incarnation: str, acknowledged: int, patience_s: float) -> bytes | Collected:
        """The ends for a client after the number it acknowledges; packed unless they hold references.

        A client that knows another incarnation hears of this one at once.
        """
        core = await self._core()
        if incarnation != core.incarnation:
            acknowledged, patience_s = 0, 0.0
        forgotten = not core.replies.knows(client)
        ends = await core.replies.collect(client, acknowledged, 0.0 if forgotten else patience_s)
        collected = Collected(core.incarnation, ends, core.replies.closed, forgotten)
        large = any(end.result is not None and end.result.buffers for _, end in ends)
        return collected if large else pack(collected)

    async def forget(self, client: str) -> None:
        (await self._core()).replies.forget(client)

    async def events(self, incarnation: str | None, after: int, limit: int, patience_s: float) -> bytes:
        """What happened after a number of an incarnation, an `EventPage`, packed; waits up to ``patience_s`` seconds for the first."""
        events = (await self._core()).events
        if patience_s:
            await events.wait(incarnation, after, patience_s)
        return pack(tuple(events.read(incarnation, after, limit)))

    # -- worker groups -------------------------------------------------------------------------

    async def update_roster(self, roster: Roster, handles: Mapping[str, Any]) -> None:
        core = await self._core()
        self._transport.know(handles)
        if core.update_roster(roster):
            there = {view.ref.id for view in roster.workers}  # a group that was restarted may have no handles yet
            self._transport.forget_all_but(there | set(handles), names.worker_prefix(core.name, roster.group))
        for node in core.workforce.suspected_nodes():
            if not await asyncio.to_thread(cluster.node_is_alive, node):
                core.events.node_lost(node)

    async def attend(self, group: str, handled: Sequence[Spoilt], patience_s: float) -> list[Spoilt]:
        """The group's workers whose state must be made anew, but for those it handles already, once there is one."""
        return await (await self._core()).workforce.spoilt(group, handled, patience_s)

    async def load(self, group: str) -> Load:
        return await (await self._core()).load(group)

    async def dismiss(self, worker_ids: Sequence[str], by: str) -> list[str]:
        return (await self._core()).workforce.dismiss(worker_ids, by)

    async def fence(self, worker_id: str, by: str) -> bool:
        return await (await self._core()).fence(worker_id, by)

    async def retire(self, worker_ids: list[str], by: str, shutdown_s: float | None) -> None:
        await (await self._core()).retire(worker_ids, by, shutdown_s)

    async def remove_group(self, group: str) -> None:
        (await self._core()).workforce.remove_group(group)

    async def progressed(self, job_id: JobId, attempt: int, incarnation: str, value: Any) -> None:
        (await self._core()).progressed(job_id, attempt, incarnation, value)

    # ------------------------------------------------------------------------------------------

    async def _remember(self, suspended: bool) -> None:
        """For a store that cannot keep the flag: Ray's head node does, as long as the cluster lives."""
        if self._spec.store.outside:
            await asyncio.to_thread(cluster.remember_flag, f"suspended {self._spec.policy.name}", suspended)

    def _expect_no_strangers(self) -> None:
        exposure = cluster.exposure()
        if exposure is not None and self._spec.strict_security:
            raise InsecureCluster(f"queue {self._spec.policy.name!r} is not started: {exposure}")
        if exposure is not None:
            log.warning("%s", exposure)

    async def _core(self) -> QueueCore:
        if self._opened is not None:
            return self._opened
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        try:
            return await asyncio.shield(self._opening)
        except Exception:
            self._opening = None  # the trouble may be mended: the next call tries again
            raise

    async def _open(self) -> QueueCore:
        self._expect_no_strangers()
        mode = self._spec.success_mode
        tell = None if mode is None else SuccessTeller(mode).tell
        policy = self._spec.policy
        if self._spec.store.outside and policy.suspended is None:  # None after a restart, too
            policy = replace(policy, suspended=await asyncio.to_thread(cluster.flag_is_set, f"suspended {policy.name}"))
        elif self._spec.store.outside:
            await self._remember(bool(policy.suspended))
        core = QueueCore(policy, self._spec.store, self._transport, ThreadCaller(), self._clock, tell)
        await core.open()
        self._feeds = [asyncio.ensure_future(Feed(subscriber, core.events, core.status).run()) for subscriber in self._spec.subscribers]
        self._opened = core
        return core


def _show_log() -> None:
    """Without a logging set-up of the user's own, what is logged here, at level INFO and above, goes to this process's output."""
    if log.level == logging.NOTSET and not log.handlers:
        log.setLevel(logging.INFO)
        log.addHandler(logging.StreamHandler())
        log.propagate = False


def _restarted(spec: QueueSpec) -> QueueSpec:
    """For a process that Ray started again: the store must be there, and what it remembers counts, not what was said at the start."""
    return replace(spec, store=spec.store.existing(), policy=replace(spec.policy, suspended=None))


def create(spec: QueueSpec, ray_options: Mapping[str, Any], begin: Callable[[Any], object]) -> None:
    """Start a queue's actor under its name, and have it ``begin``; what that raises ends it.

    Raises `NameTaken`, `PayloadError` if the spec cannot be pickled, or what Ray raises for options it does not take.
    """
    options: dict[str, Any] = {
        "num_cpus": 0, **ray_options, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 10_000, "enable_task_events": False,
    }
    name = names.queue_actor(spec.policy.name)
    pickled = payload.dumps_whole(spec, f"what queue {spec.policy.name!r} is made of")
    kept = keeping.keep(pickled) if len(pickled) > keeping.LARGE_BYTES else None
    try:
        actor = cluster.create_named(wrapped(QueueActor), name, options, spec if kept is None else kept)
        try:
            begin(actor)
        except BaseException:
            cluster.end_actor(actor, name)
            raise
    except BaseException:
        if kept is not None:
            kept.drop()
        raise
