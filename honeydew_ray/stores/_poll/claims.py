"""The rows that a poll queue reserves, each under a claim of its own making."""

from __future__ import annotations

import contextlib
import logging
import random

from honeydew_ray import lifecycle
from honeydew_ray.errors import StoreError
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.stores._poll import state
from honeydew_ray.stores._poll.database import Database
from honeydew_ray.stores._poll.leases import Leases
from honeydew_ray.stores._poll.rows import RowJobs
from honeydew_ray.stores._poll.settling import Settler
from honeydew_ray.stores._poll.sql import RowStatements, Standing
from honeydew_ray.stores._poll.state import Claim
from honeydew_ray.stores.base import Reserved

log = logging.getLogger("honeydew_ray")

_US = 1_000_000
_FAIR_EVERY = 16  # of so many full batches in a row one begins with rows that fell due, which new rows would else keep waiting


class Claims:
    """Reserves the rows that go next, and says when to look for more. Used by one thread at a time; it blocks for the database."""

    def __init__(self, store: object, database: Database, sql: RowStatements, rows: RowJobs, leases: Leases, settler: Settler,
                 incarnation: str, poll_interval_s: float) -> None:
        self._store = store  # for the log
        self._database = database
        self._sql = sql
        self._rows = rows
        self._leases = leases
        self._settler = settler
        self._incarnation = incarnation
        self._poll_interval_s = poll_interval_s
        self._claims = 0
        self._full_batches = 0
        self._rows_now = object()  # another one when rows have changed
        self._due: tuple[object, float, float | None] | None = None  # for which rows, when it was asked, when the next falls due

    def forget_due(self) -> None:
        """Rows have changed: when the next one falls due is not known any more. To be told after the commit. For any thread."""
        self._rows_now = object()

    def held(self, standing: Standing) -> JobRecord:
        """The job of a row that is reserved for this queue, whether or not its lease has run out."""
        return self._rows.job(standing._replace(lock=-(2**62)), 0)

    def reserve(self, n: int, now: float, only: JobId | None, abandoned: bool) -> Reserved:
        """See `Store.reserve`. Blocks. Raises `StoreError`."""
        self._leases.renew_if_late()
        look_again = self._look_again(now)  # first: a row that falls due in between is reserved below, where else neither would see it
        jobs: list[JobRecord] = []
        unfit: list[JobRecord] = []
        if n > 0:
            standings = self._claim_only(only, now, abandoned) if only is not None else self._claim(n, now)
            for standing in _in_line(standings):
                job, fault = self._claimed(standing)
                if self._leases.take(standing.key, job):
                    (jobs if fault is None else unfit).append(job if fault is None else lifecycle.abandoned(job, fault, now))
        if unfit:
            self._abandon(unfit)
        if only is not None and jobs:  # which may be the one that was to fall due next
            self.forget_due()
            with contextlib.suppress(StoreError):  # what was reserved must be handed over all the same
                look_again = self._look_again(now)
        return Reserved(jobs, now if unfit and not jobs else look_again)

    def _abandon(self, jobs: list[JobRecord]) -> None:
        """Give up reserved rows at once. Should that fail, their leases run out, and they come again."""
        try:
            self._settler.commit([(job, True) for job in jobs])
        except StoreError:
            log.exception("%d job(s) of %r could not be abandoned yet", len(jobs), self._store)
        self._leases.let_go(jobs)

    def _claim(self, n: int, now: float) -> list[Standing]:
        found: list[Standing] = []
        if self._full_batches % _FAIR_EVERY == _FAIR_EVERY - 1:
            found = self._claim_some(n, now, fallen_due_first=True)
        if len(found) < n:
            found = found + self._claim_some(n - len(found), now, fallen_due_first=False)
        self._full_batches = self._full_batches + 1 if len(found) == n else 0
        return found

    def _claim_some(self, n: int, now: float, fallen_due_first: bool) -> list[Standing]:
        claim = self._new_claim(now)
        one_step = self._database.dialect.update_returning
        step = self._sql.claim if one_step else self._sql.claim_in_steps
        return self._database.run(lambda connection: step(connection, claim, n, fallen_due_first), whole=not one_step)

    def _claim_only(self, job_id: JobId, now: float, abandoned: bool) -> list[Standing]:
        key = self._rows.key_of(job_id)
        if key is None:
            return []
        claim = self._new_claim(now)
        return self._database.run(lambda connection: self._sql.claim_only(connection, claim, key, abandoned), whole=True)

    def _claimed(self, standing: Standing) -> tuple[JobRecord, Failure | None]:
        """The job of a row that was just reserved; and what keeps it from being run, if its task cannot be told."""
        job_id = self._rows.id_of(standing.key)
        try:
            task, payload = self._rows.work(job_id)
        except Exception as error:
            log.exception("no task can be told for job %r of %r; it is abandoned", job_id, self._store)
            return self.held(standing), Failure.from_exception(error)
        return self._rows.with_task(standing, JobState.IN_PROGRESS, task, payload), None

    def _new_claim(self, now: float) -> Claim:
        self._claims += 1
        return Claim(f"{self._incarnation}:{self._claims}", max(now, 0.0))

    def _look_again(self, now: float) -> float:
        """When to poll again, by our clock: when the first delayed row falls due, at the latest after the poll interval."""
        rows_now = self._rows_now  # before asking: what is committed meanwhile may have been missed
        rows, asked, due = self._due or (None, 0.0, None)
        if rows is not rows_now or not 0 <= now - asked < self._poll_interval_s or (due is not None and due <= now):
            wait_us = self._database.run(self._sql.next_due_us)
            due = None if wait_us is None else now + max(wait_us, 0) / _US
            self._due = rows_now, now, due
        latest = now + self._poll_interval_s * random.uniform(0.9, 1.0)  # queues that were started together need not ask together
        return latest if due is None else min(due, latest)


def _in_line(standings: list[Standing]) -> list[Standing]:
    """In the order of their places, and of their keys if those have an order: an UPDATE returns rows as it likes."""
    with contextlib.suppress(TypeError):
        standings = sorted(standings, key=lambda standing: standing.key)
    return sorted(standings, key=lambda standing: state.read(standing.private).place)
