"""What a poll queue has reserved: kept alive while its job is in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from honeydew_ray.failure import exception_text
from honeydew_ray.job import JobId, JobRecord, Token
from honeydew_ray.stores._poll.sql import Key

log = logging.getLogger("honeydew_ray")

Renewal = Callable[[dict[str, list[Key]]], set[Key]]
"""Renews keys by claim; those that were still under their claim."""


class _Lease(NamedTuple):
    token: Token
    key: Key


class Leases:
    """The leases of one queue, and the thread that renews them, three times in the span of each.

    A lease that cannot be renewed - the row is gone, was edited, or is another's by now - is let go of: the
    attempt under it runs on, and its outcome will change nothing.
    """

    def __init__(self, renewal: Renewal, lease_s: float) -> None:
        self._renewal = renewal
        self._lease_s = lease_s
        self._leases: dict[JobId, _Lease] = {}
        self._again: dict[JobId, JobRecord] = {}  # asked to run again, by another's hand, while their attempt ran
        self._lost: set[Token] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewed_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="honeydew-leases", daemon=True)
        self._told = False

    def start(self) -> None:
        """Renew from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more: what is still reserved becomes stale."""
        self._ended.set()
        self._thread.join(timeout=5.0)

    def take(self, key: Key, job: JobRecord) -> bool:
        """A row was reserved. False if an attempt at it is in hand already: then it is kept, to go back when that has ended."""
        with self._lock:
            if job.id in self._leases:
                self._again[job.id] = job
                return False
            self._leases[job.id] = _Lease(job.token, key)
            return True

    def holds(self, job: JobRecord) -> bool:
        """Whether this attempt was reserved here and has not been settled."""
        lease = self._leases.get(job.id)
        return lease is not None and lease.token == job.token

    def let_go(self, jobs: Iterable[JobRecord]) -> list[JobRecord]:
        """Attempts are settled; the rows that were asked to run again meanwhile, which are now held in their place."""
        with self._lock:
            again: list[JobRecord] = []
            for job in jobs:
                if self.holds(job):
                    key = self._leases.pop(job.id).key
                    self._lost.discard(job.token)
                    if job.id in self._again:
                        again.append(self._again.pop(job.id))
                        self._leases[job.id] = _Lease(again[-1].token, key)
            return again

    def renew_if_late(self) -> None:
        """Renew before anything is reserved, if the thread has not come to it for long: the database may have been away."""
        if self._leases and time.monotonic() - self._renewed_at > self._lease_s / 2:
            self.renew()

    def renew(self) -> None:
        """Renew every lease. Raises `StoreError`."""
        with self._lock:
            tokens = [(lease.token, lease.key) for lease in self._leases.values() if lease.token not in self._lost]
            tokens += [(job.token, self._leases[job.id].key) for job in self._again.values()]
        by_claim: defaultdict[str, list[Key]] = defaultdict(list)
        for token, key in tokens:
            by_claim[token.incarnation].append(key)
        started = time.monotonic()
        renewed = self._renewal(dict(by_claim)) if by_claim else set[Key]()
        self._renewed_at = started
        with self._lock:
            for token, key in tokens:
                if key not in renewed and (lease := self._leases.get(token.job_id)) is not None and lease.token == token:
                    self._lost.add(token)
                    log.warning("the row of job %s was changed while the job is in hand; its outcome will not count", token.job_id)

    def _run(self) -> None:
        while not self._ended.wait(self._lease_s / 3):
            try:
                self.renew()
            except Exception as error:  # of any kind: without renewals, others would take the rows
                if not self._told:
                    log.warning("leases could not be renewed; it is tried again: %s", exception_text(error))
                self._told = True
            else:
                self._told = False
