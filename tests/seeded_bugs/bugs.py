"""Mistakes that somebody might make, each as a change of one place; the tests must notice every one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bug:
    """In ``file``, ``old`` becomes ``new``. ``old`` occurs there once."""

    name: str
    file: str
    old: str
    new: str

    def plant(self, root: Path) -> None:
        """Change the file under this root. Raises `ValueError` if the place is not there any more."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"seeded bug {self.name!r}: {self.file} holds {text.count(self.old)} times, and not once:\n{self.old}\n"
                             "The code has changed: plant the same mistake in what it is now, in tests/seeded_bugs/bugs.py")
        path.write_text(text.replace(self.old, self.new))


BUGS = [
    Bug("a job is acknowledged before it runs", "honeydew_ray/floor.py",
        '            failpoints.hit("disp.post_reserve")\n',
        '            from honeydew_ray import lifecycle\n'
        '            await self._store.ack([lifecycle.succeeded(job, self._clock.now(), None) for job in reserved.jobs])\n'),
    Bug("move acknowledges first", "honeydew_ray/queue_core.py",
        "            await self._transport.enqueue(queue, [lifecycle.arrived(job, queue, self._clock.now())])\n",
        "            await self.floor.settlement.insist(lambda: self._let_go(job, queue))\n"
        "            await self._transport.enqueue(queue, [lifecycle.arrived(job, queue, self._clock.now())])\n"),
    Bug("a job that failed is called moved before it is in the other queue", "honeydew_ray/judge.py",
        "            await self._transport.enqueue(queue, [arriving])\n",
        "            import asyncio\n"
        "            asyncio.ensure_future(self._transport.enqueue(queue, [arriving]))\n"),
    Bug("the crash of a monitor drops the job", "honeydew_ray/lease.py",
        "            return self._judged((monitor, Lost(_fault_of_monitor(error))) for monitor in self.open), WorkerFate.GONE\n",
        "            from honeydew_ray.transport import Returned\n"
        "            return self._judged((monitor, Returned(None)) for monitor in self.open), WorkerFate.GONE\n"),
    Bug("tokens are ignored", "honeydew_ray/stores/_image.py",
        "        return held is not None and held.state is JobState.IN_PROGRESS and held.token == job.token\n",
        "        return held is not None and held.state is JobState.IN_PROGRESS\n"),
    Bug("a memory store is passed off as durable", "honeydew_ray/stores/memory.py",
        "    def __init__(self, max_abandoned: int = 1000) -> None:\n",
        "    durable = True\n\n    def __init__(self, max_abandoned: int = 1000) -> None:\n"),
    Bug("an off-by-one in the retry bound", "honeydew_ray/failure_modes/retry.py",
        "        if self.times is not None and job.failures >= self.times:\n",
        "        if self.times is not None and job.failures > self.times:\n"),
    Bug("an off-by-one in the cap of redeliveries", "honeydew_ray/judge.py",
        "        if job.redeliveries < self._max_redeliveries:\n",
        "        if job.redeliveries <= self._max_redeliveries:\n"),
    Bug("suspend does not take back what was issued", "honeydew_ray/queue_core.py",
        "        await self.floor.take_back_unstarted()\n", ""),
    Bug("a suspension is not remembered", "honeydew_ray/queue_core.py",
        "        await self._store.remember_suspended(suspended)\n        self.suspended = suspended\n",
        "        self.suspended = suspended\n"),
    Bug("a job that is known is enqueued again", "honeydew_ray/intake.py",
        "        return end is None and job.id not in self._monitors",
        "        return job.id not in self._monitors"),
    Bug("a cancelled job is forgotten", "honeydew_ray/stores/sqlite.py",
        "                self._keep_ends(unit.changes, [lifecycle.cancelled(waiting, self._clock.now())])\n",
        "                pass\n"),
    Bug("a worker is given a job though it runs another queue's", "honeydew_ray/floor.py",
        "        if leases or await self._transport.wait_idle(worker):\n", "        if True:\n"),
    Bug("what workers hold is redelivered after a restart", "honeydew_ray/reattachment.py",
        "            if await self._found_all(queue, waiting):\n                break\n",
        "            break\n"),
    Bug("a timeout is forgotten when an attempt is taken over", "honeydew_ray/lease.py",
        "            self._time(self.monitors[0], self._spent_s)\n",
        "            self._time(self.monitors[0], self._spent_s) if not self._resumed else None\n"),
]
