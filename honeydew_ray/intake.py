"""The door of a queue: which jobs may enter, and custody of those that do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from honeydew_ray.errors import QueueFull, QueueNotFound, UnknownMethod
from honeydew_ray.event_log import EventLog
from honeydew_ray.inquiries import Inquiries
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.mailbox import Mailbox
from honeydew_ray.replies import Replies
from honeydew_ray.rosters import Rosters
from honeydew_ray.stores.base import Query, Store


class Arrival(NamedTuple):
    """Jobs that one caller wants enqueued, all or none."""

    jobs: Sequence[JobRecord]
    moved: bool  # they come from another queue
    accepted: asyncio.Future[None]
    until: float  # by the event loop's time: how long they may wait at the door of a full queue


class Intake:
    """Takes custody of jobs, several callers' in one write to the store.

    A job whose id is known here - waiting, in hand, abandoned, or ended a while ago - changes
    nothing; its end still goes to whoever submitted it again, even if the queue is full or takes no
    more: that is how a caller learns that a try of unclear end had worked. With ``max_pending`` jobs
    waiting, new ones wait at the door, in order of arrival, or are refused; jobs from other queues are not.
    """

    def __init__(self, queue: str, store: Store, replies: Replies, inquiries: Inquiries, rosters: Rosters,
                 in_hand: Callable[[JobId], JobRecord | None], mailbox: Mailbox, max_pending: int | None, events: EventLog) -> None:
        self.closed = False
        self._mailbox = mailbox
        self._max_pending = max_pending
        self._at_door: dict[int, Arrival] = {}  # by identity
        self._alarm: asyncio.TimerHandle | None = None  # when the first of these has waited for long enough
        self._queue = queue
        self._store = store
        self._replies = replies
        self._inquiries = inquiries
        self._rosters = rosters
        self._in_hand = in_hand
        self._events = events

    async def take(self, arrivals: list[Arrival]) -> None:
        """A command: enqueue what may enter, and tell each caller."""
        accepted = [arrival for arrival in arrivals if await self._may_enter(arrival)]
        if self._max_pending is not None:
            accepted = await self._with_room(accepted, self._max_pending)
        await self._enter(accepted)

    async def _enter(self, accepted: list[Arrival]) -> None:
        fresh = [job for arrival in accepted for job in arrival.jobs if self._is_fresh(job, arrival.moved)]
        for arrival in accepted:  # before custody: a job may end before its enqueue is known to have worked
            if arrival.jobs and arrival.jobs[0].client is not None:
                self._replies.submitted(arrival.jobs[0].client, len(arrival.jobs))
        try:
            added = {job.id for job, new in zip(fresh, await self._store.enqueue(fresh), strict=True) if new}
        except Exception as error:
            if len(accepted) == 1:
                _refuse(accepted[0], error)
                self.made_room()  # it is still there
            else:  # one caller's jobs that the store cannot take must not fail the others'
                for arrival in accepted:
                    await self._enter([arrival])
            return
        self._events.enqueued(fresh if len(added) == len(fresh) else [job for job in fresh if job.id in added])
        for arrival in accepted:
            await self._accept(arrival, added)
        if len(added) < sum(len(arrival.jobs) for arrival in accepted):
            self.made_room()  # some were known, and took none of the room that was meant for them

    def made_room(self) -> None:
        """Fewer jobs wait: those at the door may try again."""
        if self._at_door:
            waiting = list(self._at_door.values())
            self._at_door.clear()
            for arrival in waiting:
                self._mailbox.post(self.take, arrival)

    async def _with_room(self, arrivals: list[Arrival], most: int) -> list[Arrival]:
        try:
            counts = await self._store.counts()
        except Exception as error:
            for arrival in arrivals:
                _refuse(arrival, error)
            return []
        room = most - counts.pending - counts.delayed
        admitted: list[Arrival] = []
        for arrival in arrivals:
            fits = not self._at_door and (len(arrival.jobs) <= room or room == most)  # more than ever fit may enter an empty queue
            if arrival.moved or fits:
                admitted.append(arrival)
                room -= len(arrival.jobs)
            elif await self._knows_all(arrival):
                admitted.append(arrival)
            elif arrival.until > asyncio.get_running_loop().time():
                self._at_door[id(arrival)] = arrival
            else:
                self._turn_away(arrival)
        self._set_alarm()
        return admitted

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._at_door:
            soonest = min(arrival.until for arrival in self._at_door.values())
            self._alarm = asyncio.get_running_loop().call_at(soonest, self._patience_ends)

    def _patience_ends(self) -> None:
        """Who is at the door: what is being looked at just now may be in the store by now, and must not be refused."""
        now = asyncio.get_running_loop().time()
        for arrival in [arrival for arrival in self._at_door.values() if arrival.until <= now]:
            del self._at_door[id(arrival)]
            self._turn_away(arrival)
        self._set_alarm()

    def _turn_away(self, arrival: Arrival) -> None:
        _refuse(arrival, QueueFull(f"queue {self._queue!r} holds as many waiting jobs as it may, max_pending={self._max_pending}"))

    async def _accept(self, arrival: Arrival, added: set[JobId]) -> None:
        known = [job for job in arrival.jobs if job.id not in added]
        try:
            for client in dict.fromkeys(job.client for job in known if job.client is not None):
                await self._inquiries.expect([job.id for job in known if job.client == client], client)
        except Exception as error:  # the jobs are where they were, and what became of them cannot be told
            _refuse(arrival, error)
        if not arrival.accepted.done():
            arrival.accepted.set_result(None)

    async def _may_enter(self, arrival: Arrival) -> bool:
        if arrival.accepted.done():  # turned away, or its caller has left
            return False
        if self.closed and not await self._knows_all(arrival):
            _refuse(arrival, QueueNotFound(f"queue {self._queue!r} is stopping and takes no more jobs"))
            return False
        for name in {job.method for job in arrival.jobs if not job.is_function}:
            if self._rosters.run_method(name) is False:
                _refuse(arrival, UnknownMethod(
                    f"queue {self._queue!r}: no worker has a method {name!r}; its workers run {', '.join(self._rosters.classes())}. "
                    'Give a method of the worker class, as in submit("classify", photo), or a function, as in submit(math.sqrt, 2)'))
                return False
        return True

    async def _knows_all(self, arrival: Arrival) -> bool:
        """Whether all of the jobs were enqueued before."""
        strange = [job.id for job in arrival.jobs if self._replies.find(job.id) is None and self._in_hand(job.id) is None]
        look = Query(ids=strange, payloads=False)
        try:
            return not strange or len((await self._store.page(look, limit=len(strange))).jobs) == len(strange)
        except Exception:  # closed, or in trouble: then it cannot be told
            return False

    def _is_fresh(self, job: JobRecord, moved: bool) -> bool:
        end = self._replies.find(job.id)
        if end is not None and moved and end.state is JobState.MOVED:
            self._replies.drop(job.id)
            return True
        if end is not None and self._store.outside:  # it may have been done before: the store knows whether it waits again
            self._replies.drop(job.id)
            end = None
        return end is None and self._in_hand(job.id) is None  # in hand: its end may be in the store, and not told yet


def _refuse(arrival: Arrival, error: Exception) -> None:
    if not arrival.accepted.done():  # done: whoever asked has left
        arrival.accepted.set_exception(error)
