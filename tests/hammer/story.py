"""Writes histories for tests of the checker, one event a second."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tests.hammer.recorder import Event


class Story:
    """What is told, is recorded; unless a test says otherwise, all goes well."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 1000.0
        self._numbers = itertools.count(1)
        self._queues: list[str] = []

    def note(self, what: str, **facts: Any) -> None:
        self.events.append(Event(self.now, what, facts))
        self.now += 1.0

    def queue(self, name: str = "q", *, durable: bool = True, times: int = 0, max_redeliveries: int = 20, **facts: Any) -> None:
        self._queues.append(name)
        self.note("queue", name=name, durable=durable, times=times, max_redeliveries=max_redeliveries, **facts)

    def enqueue(self, uid: str, answer: str | None = "ok", queue: str = "q", **facts: Any) -> None:
        self.note("enq.invoke", uid=uid, queue=queue, **{"driver": "d1", "waits": False, **facts})
        if answer is not None:
            self.note(f"enq.{answer}", uid=uid)

    def begin(self, uid: str, *, queue: str = "q", pid: int = 1, node: str = "n1", alone: bool = True) -> str:
        run = f"run-{next(self._numbers)}"
        self.note("start", uid=uid, run=run, queue=queue, pid=pid, node=node, alone=alone)
        return run

    def run(self, uid: str, ok: bool = True, dies: bool = False, **facts: Any) -> str:
        run = self.begin(uid, **facts)
        self.note("end", run=run, ok=ok, dies=dies)
        return run

    def tell(self, uid: str, outcome: str, value: Any = None, queue: str = "q", waiter: str = "d1") -> None:
        self.note("result", waiter=waiter, uid=uid, queue=queue, outcome=outcome, value=value)

    def ask(self, verb: str, uid: str, answer: str | None = "ok", queue: str = "q", **facts: Any) -> None:
        self.note(f"{verb}.invoke", uid=uid, queue=queue, **facts)
        if answer is not None:
            self.note(f"{verb}.{answer}", uid=uid)

    def fault(self, kind: str, *, pids: tuple[int, ...] = (), **facts: tuple[str, ...]) -> None:
        name = f"fault-{next(self._numbers)}"
        self.note("fault", id=name, kind=kind, pids=pids, **{"queues": (), **facts})
        self.note("healed", id=name)

    def done(self, uid: str, **facts: Any) -> None:
        """A job that was taken and done, as most are."""
        self.enqueue(uid, **facts)
        self.run(uid)

    def place(self, uid: str, state: str, queue: str = "q") -> None:
        self.note("place", uid=uid, queue=queue, state=state)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def end(self, *, left: dict[str, Any] | None = None, planned: dict[str, int] | None = None, **final: Any) -> list[Event]:
        """All queues are seen empty, and everything is put away."""
        self.note("plan", faults=planned or {}, patience_s=60.0)
        for name in self._queues:
            self.note("final", **{"queue": name, "pending": 0, "delayed": 0, "in_progress": 0, "busy": 0, "still_s": 0.0, **final})
        self.note("left", **(left or {}))
        return self.events


Tale = Callable[[Story], None]
BREAKS: list[tuple[str, Tale]] = []
KEEPS: list[tuple[str, Tale]] = []


def breaks(rule: str) -> Callable[[Tale], Tale]:
    """The history that is told breaks this rule, and no other."""
    return lambda tale: BREAKS.append((rule, tale)) or tale  # type: ignore[func-returns-value]


def keeps(rule: str) -> Callable[[Tale], Tale]:
    """The history that is told comes near to breaking this rule, and does not."""
    return lambda tale: KEEPS.append((rule, tale)) or tale  # type: ignore[func-returns-value]
