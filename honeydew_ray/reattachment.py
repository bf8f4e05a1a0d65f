"""Taking over what workers hold for an earlier process of the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobState, Token
from honeydew_ray.lease import Lease
from honeydew_ray.mailbox import Mailbox
from honeydew_ray.monitor import Interrupted, JobMonitor
from honeydew_ray.settlement import STORE_RETRY_S, Settlement
from honeydew_ray.stores.base import Query, Store
from honeydew_ray.transport import Transport

log = logging.getLogger("honeydew_ray")


class Reattachment:
    """Finds out, once, what workers hold; until then no job that seems to wait may be said to.

    Invariant: only what no worker holds is redelivered.
    """

    def __init__(self, store: Store, transport: Transport, clock: Clock, mailbox: Mailbox, settlement: Settlement,
                 follow: Callable[[JobMonitor, float], Lease], made_room: Callable[[], None]) -> None:
        self._store = store
        self._transport = transport
        self._clock = clock
        self._mailbox = mailbox
        self._settlement = settlement
        self._follow = follow  # watch a monitor whose job has run for so many seconds
        self._made_room = made_room
        self._resumed: dict[str, list[Lease]] = {}  # by worker: what an earlier process of the queue left it with
        self._clear = asyncio.Event()

    async def clear(self) -> None:
        """Return when it is clear what workers hold: till then a job may run that seems to wait."""
        await self._clear.wait()

    def nothing_held(self) -> None:
        """The store kept nothing: whatever workers hold, nobody waits for."""
        self._clear.set()

    def left_with(self, worker: WorkerRef) -> list[Lease]:
        """What a worker that joins now still runs for an earlier process of the queue; to be asked once."""
        leases = self._resumed.pop(worker.id, [])
        return [lease for lease in leases if lease.open]

    async def take_over(self, queue: str, held: Sequence[JobRecord]) -> None:
        """Take over what workers hold, and redeliver only what nobody holds."""
        waiting = {job.token: job for job in held}
        while True:
            if await self._found_all(queue, waiting):
                break
            await asyncio.sleep(STORE_RETRY_S)
        self._clear.set()
        lost = Failure("exit", "QueueRestarted", "the queue's process ended while the job was in progress, and no live worker holds it")
        for job in waiting.values():
            await self._settlement.conclude_unwatched(job, Interrupted(lost.of_attempt(job.attempt, None)))

    async def _found_all(self, queue: str, waiting: dict[Token, JobRecord]) -> bool:
        """Whether it is clear what workers hold; until it is, nothing may be redelivered."""
        try:
            holdings = await self._transport.survivors(queue)
            held = [(worker, token) for worker, tokens in holdings for token in tokens]
            held.sort(key=lambda pair: pair[1] not in waiting)  # those that are surely meant come first
            for worker, token in held:
                await self._resume(worker, token, waiting)
        except Exception:
            log.exception("it is not clear yet what workers hold; trying again in %g s", STORE_RETRY_S)
            return False
        return True

    async def _resume(self, worker: WorkerRef, token: Token, waiting: dict[Token, JobRecord]) -> None:
        if any(monitor.token == token for monitor in self._settlement.monitors.values()):
            return  # taken over already, before something else failed
        known = token if token in waiting else _same_attempt(token, waiting)
        job = waiting.pop(known) if known is not None else await self._mailbox.ask(lambda: self._claim_again(token))
        if job is None:  # settled before the process ended
            self._transport.settled(worker, token)
            return
        spent_s = 0.0 if job.started_at is None else max(self._clock.now() - job.started_at, 0.0)
        lease = self._follow(JobMonitor(job, worker, self._transport, resumed=token), spent_s)
        self._resumed.setdefault(worker.id, []).append(lease)

    async def _claim_again(self, token: Token) -> JobRecord | None:
        """A job whose claim was not committed when the process ended waits in the store; if a worker holds it, claim it anew."""
        now = self._clock.now()
        page = await self._store.page(Query(ids=[token.job_id]))
        if not page.jobs or page.jobs[0].state not in (JobState.PENDING, JobState.DELAYED) or page.jobs[0].attempt + 1 != token.attempt:
            return None
        claimed = await self._store.reserve(1, now, only=token.job_id)
        if not claimed.jobs:
            return None
        self._made_room()
        return claimed.jobs[0]


def _same_attempt(token: Token, waiting: Iterable[Token]) -> Token | None:
    """The token under which an earlier process took this attempt over, and claimed it anew, before it was lost too."""
    return next((other for other in waiting if other.job_id == token.job_id and other.attempt == token.attempt), None)
