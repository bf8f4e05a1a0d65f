"""One run of the hammer, from an empty machine to an empty machine."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import honeydew_ray as honeydew
from tests.hammer.checker import Account, check
from tests.hammer.errands import Errands
from tests.hammer.faults import Faults
from tests.hammer.ground import Ground
from tests.hammer.queues import QUEUES
from tests.hammer.recorder import Recorder, read_events
from tests.hammer.schedule import KINDS, Planned, counted, make_schedule

DRIVERS = 3
LONGEST_DRAIN_S = 600.0
_LOOK_S = 0.2


class Run:
    """Load from several programs, faults on a schedule, then quiet until all is done, then the account."""

    def __init__(self, seed: int, seconds: float, kinds: Sequence[str] = KINDS, patience_s: float = 60.0) -> None:
        self.seed = seed
        self.seconds = seconds
        self.patience_s = patience_s
        self.folder = Path(tempfile.mkdtemp(prefix="hammer-"))
        self.schedule = make_schedule(seed, seconds, kinds)
        self._recorder = Recorder(self.folder / "events", "hammer")
        self._ground = Ground(self.folder)
        self._drivers_started = 0
        self._began = time.monotonic()
        self._errors: list[str] = []
        (self.folder / "schedule.json").write_text(
            json.dumps({"seed": seed, "seconds": seconds, "schedule": [planned._asdict() for planned in self.schedule]}, indent=1))

    def go(self) -> Account:
        """Run; the account. The folder is kept if it is not clean."""
        for facts in QUEUES.values():
            self._recorder.note("queue", **asdict(facts))
        self._recorder.note("plan", faults=counted(self.schedule), patience_s=self.patience_s)
        left: dict[str, object] = {}
        try:
            self._ground.build()
            self._tell("the ground is laid")
            self._load()
            self._drain()
            left.update(self._ground.stop_queues())
        except Exception as error:
            self._broken("the hammer", error)
        finally:
            processes = self._ground.clear()
            if processes:
                left["processes"] = {str(pid): command for pid, command in processes.items()}
            self._recorder.note("left", **left)
            self._recorder.close()
        account = check(read_events(self.folder / "events"))
        if account.violations:
            (self.folder / "account.txt").write_text(f"seed {self.seed}, {self.seconds:g} s\n{account}\n")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return account

    def _load(self) -> None:
        for _ in range(DRIVERS):
            self._start_driver()
        errands = Errands()
        faults = Faults(self._ground, self._recorder, errands, self._start_driver)
        began = time.monotonic()
        threads: list[threading.Thread] = []
        for planned in self.schedule:
            errands.serve(began + planned.at_s)
            self._tell(planned.kind)
            threads.append(threading.Thread(target=self._do, args=(faults, planned), name=f"fault-{planned.kind}"))
            threads[-1].start()
        errands.serve(began + self.seconds)
        while any(thread.is_alive() for thread in threads):
            errands.serve(time.monotonic() + _LOOK_S)
        self._ground.repair()

    def _do(self, faults: Faults, planned: Planned) -> None:
        try:
            faults.do(planned)
        except Exception as error:
            self._broken(f"fault {planned.kind}", error)

    def _start_driver(self) -> None:
        self._drivers_started += 1
        self._ground.start_driver(self._drivers_started, self.seed)

    def _drain(self) -> None:
        """No more faults, no more load: all that was taken ends, and everybody hears of it."""
        load_ended = time.monotonic()
        self._tell("draining")
        (self.folder / "stop").touch()
        self._await_empty(load_ended)
        self._tell("empty")
        over = self.folder / "over.new"
        over.write_text(str(self.patience_s))
        over.rename(self.folder / "over")  # so that it is never seen without its text
        for name, driver in self._ground.drivers.items():
            code = driver.wait(timeout=self.patience_s + 60)
            if code not in (0, -9):
                self._broken(f"driver {name}", RuntimeError(f"exit code {code}; see driver{name}.log"))
        for name, queue in self._ground.queues.items():
            for job in queue.filter():
                self._recorder.note("place", uid=job.args[0], queue=name, state=str(job.state))

    def _await_empty(self, load_ended: float) -> None:
        """Wait until nothing waits or runs, for as long as something changes: how fast that goes is up to the machine."""
        before: dict[str, dict[str, int]] = {}
        changed = time.monotonic()
        while True:
            now = {name: _standing(queue.status()) for name, queue in self._ground.queues.items()}
            if now != before:
                before, changed = now, time.monotonic()
            still_s = time.monotonic() - changed
            if not any(any(standing.values()) for standing in now.values()) or still_s > self.patience_s:
                break
            if time.monotonic() > load_ended + LONGEST_DRAIN_S:
                break
            time.sleep(_LOOK_S)
        for name, standing in now.items():
            self._recorder.note("final", queue=name, **standing, still_s=still_s, status=str(self._ground.queues[name].status()))

    def _broken(self, who: str, error: Exception) -> None:
        self._recorder.note("broken", who=who, error="".join(traceback.format_exception(error))[-3000:])
        self._tell(f"{who}: {error!r}")

    def _tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f}] {text}", flush=True)


def _standing(status: honeydew.QueueStatus) -> dict[str, int]:
    return {"pending": status.pending, "delayed": status.delayed, "in_progress": status.in_progress + status.stale,
            "busy": sum(worker.job is not None for worker in status.workers)}
