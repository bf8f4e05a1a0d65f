"""A program that uses the queues of the hammer in every way, and writes down what it asked for and what it was told.

``python -m tests.hammer.driver FOLDER NUMBER SEED ADDRESS DATABASE``; it stops asking once ``FOLDER/stop`` is there, and
ends when it has heard of the end of all its jobs, or as many seconds after ``FOLDER/over`` is there as it says in it.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import honeydew_ray as honeydew
from honeydew_ray import CancelOutcome
from honeydew_ray.actors import cluster
from tests.hammer.plant import Plant
from tests.hammer.queues import BOARD, CHORALE, LEDGER, LETTERS, ROWS
from tests.hammer.recorder import Recorder
from tests.hammer.table import Application

MOST_OUTSTANDING = 80
LARGE = 40_000  # float64 numbers: they travel by the object store
PAUSE_S = 0.08


@dataclass(frozen=True)
class Pending:
    """A job whose end this driver waits for."""

    uid: str
    queue: str
    job: honeydew.Job[Any]


class Driver:
    """Submits jobs with their fates decided by a seed, cancels and moves some, and collects what it can."""

    def __init__(self, folder: Path, number: int, seed: int, database: str) -> None:
        self.name = str(number)
        self._recorder = Recorder(folder / "events", f"driver{number}")
        self._chance = random.Random(seed * 1000 + number)
        self._stop, self._over = folder / "stop", folder / "over"
        self._queues = {name: honeydew.get_queue(name) for name in (LEDGER, LETTERS, BOARD, CHORALE, ROWS)}
        self._application = Application(database, self.name, self._chance, self._recorder)
        self._pending: list[Pending] = []
        self._count = 0
        self._habits: dict[Callable[[], None], int] = {
            self.plain: 40, self.batch: 6, self.flaky: 10, self.failing: 5, self.deadly: 2, self.delayed: 8, self.large: 5,
            self.silent: 5, self.overtime: 1, self.cancelled_early: 6, self.cancelled_late: 5, self.cancelled_running: 3, self.moved: 6,
            self.inserted: 10, self.inserted_and_cancelled: 4,
        }

    def work(self) -> None:
        """Until told to stop."""
        while not self._stop.exists():
            if len(self._pending) < MOST_OUTSTANDING:
                [habit] = self._chance.choices(list(self._habits), list(self._habits.values()))
                habit()
            self._collect()
            time.sleep(self._chance.expovariate(1 / PAUSE_S))
        deadline = math.inf
        while self._pending and time.monotonic() < deadline:
            if deadline == math.inf and self._over.exists():
                deadline = time.monotonic() + float(self._over.read_text())
            self._collect()
            time.sleep(0.02)
        for pending in self._pending:
            self._told(pending, "timeout", None)
        self._application.close()

    def fail(self, error: BaseException) -> None:
        """Write down that the library raised what it never should."""
        self._recorder.note("broken", who=f"driver {self.name}", error="".join(traceback.format_exception(error))[-3000:])

    # -- what it does ----------------------------------------------------------------------------

    def plain(self) -> None:
        self._submit(self._any_queue(), seconds=self._short())

    def flaky(self) -> None:
        self._submit(self._any_queue(), seconds=self._short(), ending="flaky")

    def failing(self) -> None:
        self._submit(self._any_queue(), seconds=self._short(), ending="raise")

    def deadly(self) -> None:
        self._submit(self._any_queue(), ending=self._chance.choice(["exit", "kill"]))

    def delayed(self) -> None:
        self._submit(self._any_queue(), delay_s=self._chance.uniform(0.1, 2.0), priority=self._chance.randint(-1, 1))

    def large(self) -> None:
        self._submit(self._any_queue(), ballast=np.full(LARGE, float(self._count)))

    def silent(self) -> None:
        self._submit(self._any_queue(), reply=False)

    def overtime(self) -> None:
        self._submit(self._any_queue(), seconds=1.5, timeout_s=0.5)

    def cancelled_early(self) -> None:
        """While it waits."""
        self._cancel(self._submit(self._any_queue(), delay_s=1.0))

    def cancelled_late(self) -> None:
        """As it may be starting."""
        self._cancel(self._submit(self._any_queue(), seconds=0.05))

    def cancelled_running(self) -> None:
        pending = self._submit(self._any_queue(), seconds=2.0)
        time.sleep(self._chance.uniform(0.0, 0.4))
        self._cancel(pending, running=True)

    def moved(self) -> None:
        """From a memory queue to a durable one, or between two durable ones."""
        there = {BOARD: LEDGER, LEDGER: LETTERS}
        here = self._chance.choice(list(there))
        pending = self._submit(here, delay_s=self._chance.choice([0.0, 1.5]))
        if pending is None:
            return
        self._recorder.note("move.invoke", uid=pending.uid, queue=here, to=there[here])
        try:
            self._pending.append(Pending(pending.uid, there[here], pending.job.move(there[here])))
        except (honeydew.JobInProgress, honeydew.JobNotFound):
            self._recorder.note("move.fail", uid=pending.uid)
        except honeydew.HoneydewError as error:
            self._recorder.note("move.info", uid=pending.uid, error=str(error))
        else:
            self._recorder.note("move.ok", uid=pending.uid)

    def inserted(self) -> None:
        """Rows, of which the queue hears from their database."""
        for uid in self._application.insert(self._new_uid):
            if self._chance.random() < 0.3:
                self._follow(uid)

    def inserted_and_cancelled(self) -> None:
        for uid in self._application.insert(self._new_uid):
            self._cancel(Pending(uid, ROWS, self._queues[ROWS].job(uid)), running=self._chance.random() < 0.5)

    def batch(self) -> None:
        """Many in one call, which the queue takes all or none of."""
        queue, seconds = self._any_queue(), self._short()
        uids = [self._new_uid() for _ in range(self._chance.randint(2, 15))]
        for uid in uids:
            self._recorder.note("enq.invoke", uid=uid, queue=queue, driver=self.name, delay_s=0.0, waits=True)
        jobs = self._answered(uids, lambda: self._queues[queue].submit_many("work", uids, [seconds] * len(uids), ["ok"] * len(uids)))
        self._pending += [Pending(uid, queue, job) for uid, job in zip(uids, jobs or [], strict=False)]

    # -- how it does it --------------------------------------------------------------------------

    def _submit(self, queue: str, *, seconds: float = 0.01, ending: str = "ok", ballast: Any = None, **options: Any) -> Pending | None:
        uid, waits = self._new_uid(), options.get("reply", True)
        self._recorder.note("enq.invoke", uid=uid, queue=queue, driver=self.name, delay_s=options.get("delay_s", 0.0), waits=waits,
                            large=ballast is not None)
        submitter = self._queues[queue].options(**options)
        job = self._answered([uid], lambda: submitter.submit(Plant.work, uid, seconds, ending, ballast))
        if job is None:
            return None
        pending = Pending(uid, queue, job)
        if waits:
            self._pending.append(pending)
        return pending

    def _answered(self, uids: list[str], enqueue: Callable[[], Any]) -> Any:
        try:
            done = enqueue()
        except honeydew.EnqueueUncertain:
            answer, done = "info", None
        except (honeydew.QueueNotFound, honeydew.PayloadError, honeydew.UnknownMethod, honeydew.QueueFull) as error:
            answer, done = "fail", None
            self._recorder.note("broken", who=f"driver {self.name}", error=f"refused: {error!r}")  # nobody stops a queue here
        else:
            answer = "ok"
        for uid in uids:
            self._recorder.note(f"enq.{answer}", uid=uid)
        return done

    def _follow(self, uid: str) -> None:
        """Ask for the end of a row's job; nobody promised that it is kept until then."""
        job = self._queues[ROWS].job(uid)
        with contextlib.suppress(honeydew.JobNotFound, honeydew.StoreUnreachable, TimeoutError):
            job.wait(0)
            self._pending.append(Pending(uid, ROWS, job))

    def _cancel(self, pending: Pending | None, running: bool = False) -> None:
        if pending is None:
            return
        self._recorder.note("cancel.invoke", uid=pending.uid, queue=pending.queue, running=running)
        try:
            outcome = pending.job.cancel(running=running)
        except honeydew.StoreUnreachable:
            if pending.queue != ROWS:
                raise
            self._recorder.note("cancel.info", uid=pending.uid)
        else:
            self._recorder.note("cancel.ok" if outcome is CancelOutcome.CANCELLED else "cancel.fail", uid=pending.uid)

    def _collect(self) -> None:
        self._pending = [pending for pending in self._pending if not self._heard(pending)]

    def _heard(self, pending: Pending) -> bool:
        """Whether the job's end is known, and written down."""
        try:
            if not pending.job.done():
                return False
            value = pending.job.result(timeout=5)
        except TimeoutError:
            return False
        except honeydew.JobMoved as error:
            self._told(pending, "moved", error.queue)
        except honeydew.JobAbandoned as error:
            self._told(pending, "abandoned", f"{error.kind}: {error.message}"[:200])
        except honeydew.JobCancelled:
            self._told(pending, "cancelled", None)
        except honeydew.QueueLost as error:
            if pending.queue == ROWS:  # done, as its row says; what it returned was nowhere but in the queue
                return True
            self._told(pending, "gone" if "large" in str(error) else "lost", str(error))
        except Exception as error:
            if pending.queue == ROWS and isinstance(error, honeydew.StoreUnreachable):
                return False
            if pending.queue == ROWS and isinstance(error, honeydew.JobNotFound):
                return True
            self._told(pending, "error", f"{type(error).__name__}: {error}"[:2000])
        else:
            self._told(pending, "done", value["run"])
        return True

    def _told(self, pending: Pending, outcome: str, value: Any) -> None:
        self._recorder.note("result", waiter=f"{self.name} of {pending.queue}", uid=pending.uid, queue=pending.queue,
                            outcome=outcome, value=value)

    def _new_uid(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def _any_queue(self) -> str:
        return self._chance.choices([LEDGER, LETTERS, BOARD, CHORALE], [4, 1, 3, 4])[0]

    def _short(self) -> float:
        return self._chance.choice([0.0, 0.005, 0.02, 0.1])


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    cluster.connect(address, log_to_driver=False)
    try:
        yield
    finally:
        cluster.disconnect()


def main(folder: Path, number: int, seed: int, address: str, database: str) -> None:
    with _connected(address):
        driver = Driver(folder, number, seed, database)
        try:
            driver.work()
        except BaseException as error:
            driver.fail(error)
            raise


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
