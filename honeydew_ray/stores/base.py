"""What a queue asks of the place where it keeps its jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState


@dataclass(frozen=True, slots=True)
class Opened:
    """What a store knows when it is opened."""

    incarnation: str  # new at each opening; part of every token
    suspended: bool = False  # as last remembered
    held: Sequence[JobRecord] = ()  # jobs that were in progress when it was last closed or lost
    ended: Sequence[JobRecord] = ()  # jobs that ended lately, for waiters who have not heard, as far as the store keeps them


@dataclass(frozen=True, slots=True)
class Reserved:
    """Jobs taken from the line, and when to look again."""

    jobs: Sequence[JobRecord]
    next_due: float | None = None  # when the earliest delayed job falls due, in epoch seconds


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs are in each state a store keeps."""

    pending: int = 0
    delayed: int = 0
    in_progress: int = 0
    abandoned: int = 0
    stale: int = 0  # in progress for a queue that has let its lease run out; they wait to be taken over


@dataclass(frozen=True, slots=True)
class Query:
    """Which jobs a page should hold; None means any."""

    ids: Sequence[JobId] | None = None
    state: JobState | None = None
    method: str | None = None
    stale: bool = False  # only jobs whose lease ran out
    where: Any = None  # an expression of SQLAlchemy, for stores that are tables
    payloads: bool = True  # False: whoever asks does not look at the jobs' payloads, so a store may leave them out


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, and the cursor to the next page: None after the last."""

    jobs: Sequence[JobRecord]
    cursor: Any = None


class Store(ABC):
    """Where a queue keeps its jobs.

    One queue uses a store, one call at a time unless it says that they may overlap; each call is a batch, and has happened (for a
    durable store: is committed) when it returns. A store changes a job only as told, and fences:
    `ack` and `nack` act only while the store holds that very attempt in progress.
    Run `honeydew_ray.testing.StoreContract` against your own.
    """

    durable: ClassVar[bool] = False
    """Whether jobs outlive the queue's process."""

    overlapping: ClassVar[bool] = False
    """Whether `ack` and `nack` may be called while earlier calls still wait; they take effect in the order of the calls."""

    outside: ClassVar[bool] = False
    """Whether others than the queue put jobs in, change them and take them out, without a word to it."""

    node_local: bool = False
    """Whether only the node that the queue was started on can reach what the store keeps."""

    trouble: str | None = None
    """What keeps the store from working at the moment, for `status()`; it tries again by itself."""

    def existing(self) -> Store:
        """The same store for a queue that had it before: if it must be there and is not, `open` refuses."""
        return self

    def watch(self, wake: Callable[[], None]) -> None:  # noqa: B027
        """Learn how to have the queue look for jobs at once; called before `open`, from then on callable from any thread.

        A store that hears of jobs from outside calls it. Besides, `Reserved.next_due` says when to look again.
        """

    @abstractmethod
    async def open(self, queue: str) -> Opened:
        """Get ready to keep the jobs of this queue. Called before anything else, once, or until it no longer raises `StoreUnreachable`."""

    @abstractmethod
    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        """Take custody of new jobs, pending or delayed, in order, all or none.

        For each: True, or False if the store holds a job of that id, in any state; then nothing
        changes. One id twice in a batch counts once.
        """

    @abstractmethod
    async def reserve(self, n: int, now: float, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        """Claim up to ``n`` jobs: highest priority first, then first in line.

        Delayed jobs whose time has come (``due_at <= now``) join the end of the line of their
        priority first, earliest due first. With ``only``, claim that one job if it waits, due or
        not, and no other; with ``abandoned`` too, claim it if it is abandoned, and not otherwise.

        No token is issued twice, not even if an id comes again after its job is gone and attempts
        count from 1 anew: a claimed job's ``incarnation`` is `Opened.incarnation`, and what the
        store adds to it to tell such lives apart.
        """

    @abstractmethod
    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        """Remove jobs that were in progress and are finished: done, moved or cancelled.

        For each: whether the store held that attempt; if not, nothing changes.
        """

    @abstractmethod
    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        """Put back jobs that were in progress, as they now are: pending, delayed or abandoned.

        A job with ``seq == 0`` goes to the end of its line, any other to the place it had. For
        each: whether the store held that attempt; if not, nothing changes.
        """

    @abstractmethod
    async def cancel(self, job_id: JobId) -> CancelOutcome:
        """Remove a job that waits. One in progress stays as it is; one abandoned is not found."""

    @abstractmethod
    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        """Up to ``limit`` of the jobs that match, after the cursor of the page before.

        Jobs that stay put all along appear exactly once over all pages, in line order per state. A page
        before the last holds ``limit`` jobs; if the query is for payloads too, it may hold fewer (at
        least one), so as not to load too much at once.
        """

    @abstractmethod
    async def counts(self) -> Counts:
        """How many jobs are in each state."""

    @abstractmethod
    async def remember_suspended(self, suspended: bool) -> None:
        """Keep the flag for the next `open`, as far as the store keeps anything."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of files and connections. No call follows."""
