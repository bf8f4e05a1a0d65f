"""Whoever asks how a job ends is told, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from honeydew_ray.job import FINAL_STATES, JobId, JobRecord, JobSnapshot
from honeydew_ray.replies import Replies
from honeydew_ray.stores.base import Query, Store


class Inquiries:
    """Answers with the end that is kept, or that stands in the dead list, at once; for a job that has yet to end, when it does."""

    def __init__(self, store: Store, replies: Replies, in_hand: Callable[[JobId], JobRecord | None]) -> None:
        self._store = store
        self._replies = replies
        self._in_hand = in_hand

    async def expect(self, job_ids: Sequence[JobId], client: str) -> list[JobId]:
        """A command: have a client sent the ends of these jobs; those not known here are returned instead."""
        before = {job_id: self._replies.find(job_id) for job_id in job_ids}
        unknown = [job_id for job_id, end in before.items() if self._store.outside or end is None]
        look = Query(ids=unknown, payloads=False)  # with them, the many jobs of a client may be more than memory holds
        held = (await self._store.page(look, limit=len(unknown))).jobs if unknown else list[JobRecord]()
        for job in held:
            if job.state in FINAL_STATES:  # in the dead list, for longer than ends are kept
                self._replies.send(client, JobSnapshot.of(job))
            elif self._replies.find(job.id) is before.get(job.id):  # not one that came during the look
                self._replies.drop(job.id)  # it is back in line, by somebody's hand: another end will come
        missing = set(unknown) - {job.id for job in held}
        missing = {job_id for job_id in missing if not (self._replies.find(job_id) or self._in_hand(job_id))}  # some ended meanwhile
        dead = {job.id for job in held if job.state in FINAL_STATES}
        for job_id in job_ids:
            if job_id not in missing and job_id not in dead:
                self._replies.expect(job_id, client)
        return list(missing)
