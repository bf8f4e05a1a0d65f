"""Does to the cluster what the schedule says, writes down from when to when it lasted, and heals it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import honeydew_ray as honeydew
from tests.hammer.errands import Errands
from tests.hammer.ground import Actor, Ground
from tests.hammer.queues import ROWS
from tests.hammer.recorder import Recorder
from tests.hammer.schedule import Planned

HEALED_S = 120.0
"""For Ray to start again what was killed: it gives a process that another fault met as it began 20 s before it starts the next."""

T = TypeVar("T")


class Faults:
    """Each fault is done on a thread of its own, so that they may fall together."""

    def __init__(self, ground: Ground, recorder: Recorder, errands: Errands, new_driver: Callable[[], None]) -> None:
        self._ground = ground
        self._errands = errands
        self._recorder = recorder
        self._new_driver = new_driver
        self._numbers = itertools.count(1)
        self._one_node = threading.Lock()  # at a time: there must be one to go to
        self._one_suspension = threading.Lock()
        self._one_staff = threading.Lock()
        self._one_database = threading.Lock()

    def do(self, planned: Planned) -> None:
        """Do it, and return when it is healed."""
        name = planned.kind.removesuffix("_pause")
        if planned.kind == "suspend":
            self._suspend(planned)
        elif planned.kind == "restaff":
            self._restaff(planned)
        elif name == "node":
            self._node(planned)
        elif name == "drain":
            self._drain(planned)
        elif name == "database":
            self._database(planned)
        elif name == "driver":
            self._driver(planned)
        else:
            self._actor(planned, {"worker": "worker/", "queue": "queue/", "group": "workers/"}[name])

    def _actor(self, planned: Planned, prefix: str) -> None:
        target = self._until_there(lambda: self._ground.actors(prefix), planned.choice)
        queues = [target.name.removeprefix(prefix)] if prefix == "queue/" else []
        fault = self._begin(planned.kind, [target.pid], queues, target.name)
        with self._healed_after(fault):
            if planned.kind.endswith("_pause"):
                _pause(target.pid, planned.hold_s)
            elif _kill(target.pid) and prefix != "worker/":
                self._await_new(target)

    def _driver(self, planned: Planned) -> None:
        running = {name: driver for name, driver in sorted(self._ground.drivers.items()) if driver.poll() is None}
        name = _pick(list(running), planned.choice)
        pid = running[name].pid
        paused = planned.kind.endswith("_pause")
        fault = self._begin(planned.kind, [pid], [], f"driver {name}", drivers=[] if paused else [name])
        with self._healed_after(fault):
            if paused:
                _pause(pid, planned.hold_s)
            else:
                running[name].kill()
                running[name].wait()
                self._new_driver()

    def _node(self, planned: Planned) -> None:
        """Kill a node's raylet, or stop it for a while, in which it may be given up."""
        with self._one_node:
            node = _pick(self._ground.nodes(), planned.choice)
            there = self._on(node)
            queues = [actor.name.removeprefix("queue/") for actor in there if actor.name.startswith("queue/")]
            pids = [actor.pid for actor in there]
            target = f"node {node.node_id[:8]} with {', '.join(actor.name for actor in there)}"
            fault = self._begin(planned.kind, pids, queues, target, nodes=[node.node_id])
            with self._healed_after(fault):
                if planned.kind == "node_pause":
                    _pause(node.all_processes["raylet"][0].process.pid, planned.hold_s)
                    if self._ground.alive(node):
                        return
                    self._errands.run(self._ground.repair)
                else:
                    self._errands.run(lambda: self._ground.lose_node(node))
                    self._errands.run(self._ground.add_node)
                for pid in pids:
                    _await(lambda pid=pid: not _lives(pid), f"process {pid} of a lost node ends")  # type: ignore[misc]
                for queue in queues:
                    self._await_answer(queue)

    def _drain(self, planned: Planned) -> None:
        """A node is taken back by its provider, who says so some seconds before."""
        with self._one_node:
            node = _pick(self._ground.nodes(), planned.choice)
            there = self._on(node)
            queues = [actor.name.removeprefix("queue/") for actor in there if actor.name.startswith("queue/")]
            notice_s = 2.0 + 2.0 * planned.hold_s
            target = f"node {node.node_id[:8]} with {', '.join(actor.name for actor in there)}"
            fault = self._begin("drain", [actor.pid for actor in there], queues, target, nodes=[node.node_id])
            with self._healed_after(fault):
                self._errands.run(self._ground.add_node)
                self._ground.drain_node(node, notice_s)
                gone_at = time.monotonic() + notice_s
                while time.monotonic() < gone_at and self._on(node):
                    time.sleep(0.1)
                self._lose(node, [actor.pid for actor in there], queues, late=bool(self._workers_on(node)))

    def _lose(self, node: Any, pids: Sequence[int], queues: Sequence[str], late: bool) -> None:
        """A node's time is up; a worker that is there still is cut off."""
        fault = self._begin("node", pids, queues, "what is left of a node that was drained", nodes=[node.node_id]) if late else None
        self._errands.run(lambda: self._ground.lose_node(node))
        for pid in pids:
            _await(lambda pid=pid: not _lives(pid), f"process {pid} of a drained node ends")  # type: ignore[misc]
        for queue in queues:
            self._await_answer(queue)
        if fault is not None:
            self._recorder.note("healed", id=fault)

    def _database(self, planned: Planned) -> None:
        """The database of the queue of rows crashes, and is started again."""
        with self._one_database, self._healed_after(self._begin("database", [], [], "the database of rows", stores=[ROWS])):
            if planned.choice < 0.4:
                self._ground.server.kill_one()
            else:
                self._ground.server.crash()
                time.sleep(planned.hold_s)
                self._ground.server.start()
            _await(self._reached, "the queue of rows reaches its database")

    def _reached(self) -> bool:
        with contextlib.suppress(TimeoutError, honeydew.HoneydewError):
            return self._ground.queues[ROWS].status().trouble is None
        return False

    def _restaff(self, planned: Planned) -> None:
        """Stop the workers of a queue, and start others."""
        with self._one_staff:
            queue = _pick(sorted(self._ground.queues), planned.choice)
            pids = [actor.pid for actor in self._ground.actors(f"worker/{queue}/")]
            with self._healed_after(self._begin("restaff", pids, [], f"workers of {queue}")):
                self._ground.queues[queue].stop_workers()
                left = self._ground.actors(f"worker/{queue}/")
                if left:
                    raise AssertionError(f"workers were stopped, and some are left: {left}")
                self._ground.staff(queue)

    def _suspend(self, planned: Planned) -> None:
        """Keep a queue suspended for a while."""
        with self._one_suspension:
            queue = _pick(sorted(self._ground.queues), planned.choice)
            self._ground.queues[queue].suspend()
            self._recorder.note("suspend.ok", queue=queue)
            try:
                time.sleep(1.0 + planned.hold_s)
            finally:
                self._recorder.note("resume.invoke", queue=queue)
                self._ground.queues[queue].resume()

    # ----------------------------------------------------------------------------------------

    def _begin(self, kind: str, pids: Sequence[int], queues: Sequence[str], target: str, **more: list[str]) -> str:
        fault = f"{kind}-{next(self._numbers)}"
        self._recorder.note("fault", id=fault, kind=kind, pids=list(pids), queues=list(queues), target=target, **more)
        return fault

    @contextlib.contextmanager
    def _healed_after(self, fault: str) -> Iterator[None]:
        yield
        self._recorder.note("healed", id=fault)

    def _on(self, node: Any) -> list[Actor]:
        return [actor for actor in self._ground.actors() if actor.node == node.node_id]

    def _workers_on(self, node: Any) -> list[Actor]:
        return [actor for actor in self._on(node) if actor.name.startswith("worker/")]

    def _until_there(self, look: Callable[[], list[Actor]], choice: float) -> Actor:
        found: list[Actor] = []

        def some() -> bool:
            found[:] = look()
            return bool(found)

        _await(some, "there is something to hit")
        return _pick(found, choice)

    def _await_new(self, old: Actor) -> None:
        _await(lambda: any(new.name == old.name and new.pid != old.pid for new in self._ground.actors(old.name)), f"{old.name} is back")
        if old.name.startswith("queue/"):
            self._await_answer(old.name.removeprefix("queue/"))

    def _await_answer(self, queue: str) -> None:
        def answers() -> bool:
            with contextlib.suppress(TimeoutError, honeydew.QueueNotFound, honeydew.StoreUnreachable):
                return self._ground.queues[queue].status().name == queue
            return False

        _await(answers, f"queue {queue} answers")


def _pause(pid: int, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):  # something else had ended it
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _pick(among: Sequence[T], choice: float) -> T:
    return among[int(choice * len(among))]


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + HEALED_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {HEALED_S:g} s in vain until {what}")
        time.sleep(0.05)
