"""Kills a process at a failpoint of the SQLite store, many times, and compares what it was told with what the file holds.

A program of its own, because it forks: ``python -m tests.contracts.crash_runs POINT RUNS FOLDER``. At the point `BY_PARENT` it
is the parent that kills, at any moment. The folders of runs with complaints are left for a look.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

NOW = 1_700_000_000.0
FAILURE = Failure("exception", "ValueError", "on purpose")
WAITING = {JobState.PENDING, JobState.DELAYED}
BY_PARENT = "by_parent"


class Journal:
    """What the process tried, and what it was told, one line each, written at once so that a kill loses none.

    ``pulse`` is the end of a pipe that gets a byte for each line.
    """

    def __init__(self, path: Path, pulse: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._pulse = pulse

    def note(self, what: str, *ids: str) -> None:
        os.write(self._file, f"{what} {' '.join(ids)}\n".encode())
        os.write(self._pulse, b".")


def live_and_die(folder: Path, point: str, seed: int, pulse: int) -> None:
    """Use the store as a queue does, until the process is killed."""
    chance = random.Random(seed)
    if point != BY_PARENT:
        failpoints.hit = failpoints.Failpoints(f"{point}=kill@{chance.randint(1, 8)}").hit
    journal = Journal(folder / "journal", pulse)
    asyncio.run(_work(SQLiteStore(folder / "jobs.db"), journal, chance))


async def _work(store: SQLiteStore, journal: Journal, chance: random.Random) -> None:
    await store.open("test")
    number = 0
    while number < 2000:
        ids = [f"job-{number + offset}" for offset in range(chance.randint(1, 4))]
        number += len(ids)
        journal.note("enqueue?", *ids)
        await store.enqueue([lifecycle.enqueued(make_job(job_id), "test", NOW) for job_id in ids])
        journal.note("enqueue", *ids)
        claimed = (await store.reserve(chance.randint(0, 3), NOW)).jobs
        journal.note("claimed", *(f"{job.id}:{job.attempt}" for job in claimed))
        failpoints.hit("disp.post_reserve")
        await asyncio.gather(*(_settle(store, journal, job, chance.random()) for job in claimed))


async def _settle(store: SQLiteStore, journal: Journal, job: JobRecord, chance: float) -> None:
    if chance < 0.6:
        journal.note("ack?", job.id)
        await store.ack([lifecycle.succeeded(job, NOW, None)])
        journal.note("ack", job.id)
    elif chance < 0.9:
        abandon = chance < 0.7
        journal.note("nack?", job.id)
        await store.nack([lifecycle.abandoned(job, FAILURE, NOW) if abandon else lifecycle.retried(job, FAILURE, NOW, 0, None)])
        journal.note("abandoned" if abandon else "retried", job.id)


@dataclass
class Told:
    """The journal, read: which ids were ever tried or told of a step, and each enqueue's ids together.

    A claim is committed before anything that was handed over later, so an enqueue that was
    acknowledged vouches for the claims before it, and an attempt's outcome for the attempt.
    """

    steps: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    batches: list[set[str]] = field(default_factory=list[set[str]])
    last: dict[str, str] = field(default_factory=dict[str, str])
    claimed: dict[str, int] = field(default_factory=dict[str, int])  # the number of the latest attempt
    vouched: dict[str, int] = field(default_factory=dict[str, int])  # of the latest that must be in the file
    failed: Counter[str] = field(default_factory=Counter[str])  # how often a failed attempt was put back, and that acknowledged
    may_have_failed: Counter[str] = field(default_factory=Counter[str])  # how often that was tried

    @classmethod
    def read(cls, path: Path) -> Told:
        told = cls()
        for line in path.read_text().splitlines():
            what, *ids = line.split()
            if what == "claimed":
                told.claimed.update((job_id, int(attempt)) for job_id, attempt in (claim.split(":") for claim in ids))
                continue
            told.steps.setdefault(what, set()).update(ids)
            told.last.update(dict.fromkeys(ids, what))
            if what == "enqueue?":
                told.batches.append(set(ids))
            elif what == "enqueue":
                told.vouched.update(told.claimed)
            elif what == "nack?":
                told.may_have_failed.update(ids)
            elif what in ("retried", "abandoned"):
                told.failed.update(ids)
                told.vouched.update((job_id, told.claimed[job_id]) for job_id in ids)
        return told

    def of(self, what: str) -> set[str]:
        return self.steps.get(what, set())


def compare(folder: Path) -> list[str]:
    """What is wrong with the file, given what the process was told; nothing, one hopes."""
    told = Told.read(folder / "journal")
    with StoreDriver(SQLiteStore(folder / "jobs.db", create=False)) as store:
        found = store.all()
        held = {job.id for job in store.opened.held}
    state = {job.id: job.state for job in found}
    wrong = [f"{job_id} is there {times} times" for job_id, times in Counter(job.id for job in found).items() if times > 1]
    wrong += [f"{job_id} was enqueued and is gone" for job_id in told.of("enqueue") - told.of("ack?") - state.keys()]
    wrong += [f"{job_id} was never tried" for job_id in state.keys() - told.of("enqueue?")]
    wrong += [f"{job_id} was acknowledged and is there" for job_id in told.of("ack") & state.keys()]
    wrong += [f"of {sorted(batch)} only some are there" for batch in told.batches
              if not batch & told.of("ack?") and batch & state.keys() not in (set[str](), batch)]
    wrong += [f"{job_id} was {step} and is {state.get(job_id)}" for job_id, step in told.last.items()
              if (step == "abandoned" and state.get(job_id) is not JobState.ABANDONED) or (step == "retried" and state.get(job_id) not in
                                                                                         WAITING | {JobState.IN_PROGRESS})]
    wrong += [f"{job.id} is in progress and was not handed out again" for job in found
              if job.state is JobState.IN_PROGRESS and job.id not in held]
    wrong += [f"{job.id} is at attempt {job.attempt}, expected {told.vouched.get(job.id, 0)} to {told.claimed.get(job.id, 0)}"
              for job in found if not told.vouched.get(job.id, 0) <= job.attempt <= told.claimed.get(job.id, 0)]
    wrong += [f"{job.id} failed {job.failures} times, expected {told.failed[job.id]} to {told.may_have_failed[job.id]}"
              for job in found if not told.failed[job.id] <= job.failures <= told.may_have_failed[job.id]]
    return wrong


def run(folder: Path, point: str, seed: int) -> list[str]:
    """One life and death."""
    folder.mkdir()
    heard, pulse = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live_and_die(folder, point, seed, pulse)
        finally:
            os._exit(0)
    os.close(pulse)
    if point == BY_PARENT:
        lines = random.Random(seed).randint(1, 60)
        while lines > 0 and (heard_now := os.read(heard, lines)):
            lines -= len(heard_now)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(heard)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        return [f"it was not killed: it ended with status {status}"]
    return compare(folder)


def main(point: str, runs: int, folder: Path) -> int:
    failed = 0
    for seed in range(runs):
        here = folder / f"{point}-{seed}"
        complaints = run(here, point, seed)
        failed += len(complaints)
        for complaint in complaints:
            print(f"{point}, seed {seed}: {complaint}")
        if not complaints:
            shutil.rmtree(here)
    print(f"{point}: {runs} kills, {failed} complaints")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
