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
    Bug("move acknowledges first", "honeydew_ray/waiting_jobs.py",
        "            await self._transport.enqueue(queue, [lifecycle.arrived(job, queue, self._clock.now())])\n",
        "            await settlement.insist(lambda: self._let_go(job, queue))\n"
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
        "        return end is None and self._in_hand(job.id) is None",
        "        return self._in_hand(job.id) is None"),
    Bug("a job that has left is unknown before the store says so", "honeydew_ray/settlement.py",
        "        return self.holdings.find(job_id) if monitor is None else monitor.job\n",
        "        return None if monitor is None else monitor.job\n"),
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
    Bug("a group does not hear of jobs that have come due", "honeydew_ray/queue_core.py",
        "            await self._store.reserve(0, self._clock.now())\n", "            pass\n"),
    Bug("a group grows beyond its bound", "honeydew_ray/supervisor.py",
        "range(min(waiting - free, self._most() - len(self._slots)))", "range(waiting - free)"),
    Bug("a group does not hear of nodes that join", "honeydew_ray/supervisor.py",
        "        actions += self._fill()\n        for slot in self._slots:\n", "        for slot in self._slots:\n"),
    Bug("a worker is dismissed with a job in hand", "honeydew_ray/workforce.py",
        "if (member.free or member.retiring) and not member.serving]", "]"),
    Bug("a worker of a node that drains is ended at once", "honeydew_ray/supervisor.py",
        "        return [Retire(slot.worker_id, within_s), ", "        return [Retire(slot.worker_id, 0.0), "),
    Bug("a worker that is retired is given another job", "honeydew_ray/workforce.py",
        "            member.retiring, member.fenced = True, fenced\n            member.free = False\n",
        "            member.fenced = fenced\n"),
    Bug("a job in hand does not get its shutdown_s", "honeydew_ray/queue_core.py",
        "            await asyncio.wait([monitor.concluded for monitor in in_hand], timeout=shutdown_s)\n", "            pass\n"),
    Bug("a worker that computes is taken to hang", "honeydew_ray/supervisor.py",
        "if slot is None or not slot.ready or computed_s >= _BUSY_SHARE * silent_s:", "if slot is None or not slot.ready:"),
    Bug("after a fault of the transport a job is redelivered before its worker is dead", "honeydew_ray/lease.py",
        "            await self._end_worker()\n", "            pass\n"),
    Bug("delayed jobs take no room", "honeydew_ray/intake.py",
        "        room = most - counts.pending - counts.delayed\n", "        room = most - counts.pending\n"),
    Bug("those at the door are not told of room", "honeydew_ray/floor.py",
        "            if len(left_over) < len(reserved.jobs):", "            if False:"),
    Bug("a drain ends while jobs run", "honeydew_ray/queue_core.py",
        "        return counts.pending + counts.delayed + counts.in_progress + counts.stale\n",
        "        return counts.pending + counts.delayed\n"),
    Bug("a group that stops forgets workers that leave", "honeydew_ray/supervisor.py",
        "        return [slot.worker_id for slot in self._all()]\n",
        "        return [slot.worker_id for slot in self._slots if slot.ready]\n"),
    Bug("a lost node counts as the job's failure", "honeydew_ray/judge.py",
        'if failure.kind == "node_lost" and self._node_loss == "fail":', 'if failure.kind == "node_lost":'),
    Bug("a timeout comes early", "honeydew_ray/lease.py",
        "            left = max(timeout_s - spent_s, 0.0)\n", "            left = max(timeout_s * 0.9 - spent_s, 0.0)\n"),
    Bug("progress of an old attempt is shown", "honeydew_ray/queue_core.py",
        "        if monitor is not None and monitor.token == (job_id, attempt, incarnation):\n", "        if monitor is not None:\n"),
]


@dataclass(frozen=True)
class Hammered:
    """A bug that real kills of these kinds show, and the rule of the hammer's checker that it breaks."""

    bug: Bug
    kinds: tuple[str, ...]
    rule: str

    @property
    def name(self) -> str:
        return self.bug.name


_NAMED = {bug.name: bug for bug in BUGS}

HAMMERED = [
    Hammered(Bug("a memory store is passed off as a file", "honeydew_ray/stores/sqlite.py",
                 "class SQLiteStore(Store):\n",
                 "from honeydew_ray.stores.memory import MemoryStore\n\n\n"
                 "class SQLiteStore(MemoryStore):\n"
                 "    durable = True\n\n"
                 "    def __init__(self, path):\n"
                 "        super().__init__()\n\n\n"
                 "class _SQLiteStore(Store):\n"), ("queue",), "lost"),
    Hammered(_NAMED["a job is acknowledged before it runs"], ("queue", "worker"), "lost"),
    Hammered(_NAMED["an off-by-one in the retry bound"], ("worker",), "retry bound"),
]
