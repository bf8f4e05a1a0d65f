"""The ends of jobs: kept for a while for whoever asks, and sent to the clients that wait."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable

from honeydew_ray.job import JobId, JobRecord, JobSnapshot

MAX_KEPT = 10_000
MAX_KEPT_BYTES = 64 * 2**20
CLIENT_SILENCE_S = 300.0
"""A client that has not asked for its replies for so long is taken to be gone."""


MANY_OUTSTANDING = 16
LINGER_S = 0.005
"""A client with many jobs outstanding is answered at most this often, so that one call carries many ends."""


class _Client:
    def __init__(self, now: float) -> None:
        self.outstanding = 0  # jobs it submitted whose ends were not sent yet; a hint, not a count to rely on
        self.unacknowledged: deque[tuple[int, JobSnapshot]] = deque()
        self.last_seen = now
        self.something = asyncio.Event()


class Replies:
    """Who waits for which job, and how the jobs ended that ended lately.

    Kept ends are bounded by age (``ttl_s``), number and bytes, oldest dropped first. An end that
    a waiting client has not acknowledged is kept for it besides, until it does or falls silent.
    Ages and silences are measured by the event loop's time, so that setting the wall clock ends none.
    """

    def __init__(self, ttl_s: float, max_kept: int = MAX_KEPT, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._ttl_s = ttl_s
        self._max_kept = max_kept
        self._max_kept_bytes = max_kept_bytes
        self._kept: OrderedDict[JobId, tuple[float, JobSnapshot]] = OrderedDict()  # with when it came, ascending
        self._kept_bytes = 0
        self._clients: dict[str, _Client] = {}
        self._waiting: dict[JobId, dict[str, None]] = {}  # in the order in which they asked, so that a run can be repeated
        self._swept_at = 0.0
        self._numbers = itertools.count(1)  # over all clients: one that was forgotten and is back must not have acknowledged new ones
        self.closed = False
        self.deliver: Callable[[JobSnapshot], None] | None = None  # takes every end at once, where all clients live in this process

    def expect(self, job_id: JobId, client: str) -> None:
        """A client wants the end of a job: at once if it is kept, else when it comes."""
        ended = self.find(job_id)
        if ended is not None:
            self.send(client, ended)
        else:
            self._waiting.setdefault(job_id, {})[client] = None
            self._client(client)

    def submitted(self, client: str, jobs: int) -> None:
        """A client has submitted so many jobs and will be sent their ends."""
        self._client(client).outstanding += jobs

    def ended(self, *jobs: JobRecord) -> None:
        """Jobs reached a final state: keep their ends, and send them to those who wait."""
        now = _time()
        for job in jobs:
            self._ended(job, now)
        self._drop_old(now)
        if now - self._swept_at > CLIENT_SILENCE_S / 10:
            self._sweep(now)

    def _ended(self, job: JobRecord, now: float) -> None:
        end = JobSnapshot.of(job)
        self._keep(end, now)
        waiting = self._waiting.pop(job.id, None)
        if self.deliver is not None:
            self.deliver(end)
            return
        for client in dict.fromkeys((job.client, *waiting)) if waiting else (job.client,):
            if client in self._clients:  # one that has left, or fell silent, asks anew if it comes back
                self.send(client, end)

    def find(self, job_id: JobId) -> JobSnapshot | None:
        """The end of a job, if it is kept."""
        kept = self._kept.get(job_id)
        if kept is None or kept[0] + self._ttl_s <= _time():
            return None
        return kept[1]

    def drop(self, job_id: JobId) -> None:
        """Keep this end no longer: its job is back."""
        old = self._kept.pop(job_id, None)
        if old is not None:
            self._kept_bytes -= _nbytes(old[1])

    async def collect(self, client: str, acknowledged: int, patience_s: float) -> list[tuple[int, JobSnapshot]]:
        """The numbered ends for a client after the number it acknowledges; see `knows` for one that was silent.

        Waits up to ``patience_s`` for the first one, then returns what there is, perhaps nothing.
        """
        box = self._client(client)
        while box.unacknowledged and box.unacknowledged[0][0] <= acknowledged:
            box.unacknowledged.popleft()
        if not box.unacknowledged and not self.closed:
            box.something.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(box.something.wait(), patience_s)
        if box.outstanding >= MANY_OUTSTANDING and not self.closed:
            await asyncio.sleep(LINGER_S)
        box.last_seen = _time()
        return list(box.unacknowledged)

    def knows(self, client: str) -> bool:
        """Whether what is for a client is still kept: one that was silent too long must ask again for what it waits for."""
        return client in self._clients

    def forget(self, client: str) -> None:
        """A client is gone: drop all that was for it."""
        box = self._clients.pop(client, None)
        if box is not None:
            box.unacknowledged.clear()
            box.something.set()
        for job_id in [job_id for job_id, clients in self._waiting.items() if client in clients]:
            del self._waiting[job_id][client]
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def close(self) -> None:
        """No more ends will come: let every client that waits go."""
        self.closed = True
        for box in self._clients.values():
            box.something.set()

    def _client(self, name: str) -> _Client:
        box = self._clients.get(name)
        if box is None:
            box = self._clients[name] = _Client(_time())
        box.last_seen = _time()
        return box

    def send(self, client: str, end: JobSnapshot) -> None:
        """Put an end into a client's mailbox."""
        if self.deliver is not None:
            self.deliver(end)
            return
        box = self._clients.get(client)
        if box is None:
            box = self._clients[client] = _Client(_time())
        box.unacknowledged.append((next(self._numbers), end))
        box.outstanding = max(box.outstanding - 1, 0)
        box.something.set()

    def _keep(self, end: JobSnapshot, now: float) -> None:
        self.drop(end.id)
        self._kept_bytes += _nbytes(end)
        self._kept[end.id] = now, end
        while len(self._kept) > self._max_kept or (self._kept_bytes > self._max_kept_bytes and len(self._kept) > 1):
            self._drop_oldest()

    def _drop_old(self, now: float) -> None:
        while self._kept and next(iter(self._kept.values()))[0] + self._ttl_s <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, end) = self._kept.popitem(last=False)
        self._kept_bytes -= _nbytes(end)

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        self._drop_old(now)
        for client in [name for name, box in self._clients.items() if now - box.last_seen > CLIENT_SILENCE_S]:
            self.forget(client)


def _time() -> float:
    return asyncio.get_running_loop().time()


def _nbytes(end: JobSnapshot) -> int:
    return 0 if end.result is None else end.result.nbytes
