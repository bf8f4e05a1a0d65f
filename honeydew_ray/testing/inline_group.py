"""A group of inline workers, which replaces those that die."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from honeydew_ray.actors import names
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.queue_core import QueueCore
from honeydew_ray.roster import Roster
from honeydew_ray.staffing import Action, Init, Kill, Spawn
from honeydew_ray.supervisor import Supervisor
from honeydew_ray.testing.inline_workers import NODE, InlineSpec, InlineWorker, InlineWorkers
from honeydew_ray.testing.stage import Stage

_incarnations = (f"i{number}" for number in itertools.count(1))


class InlineGroup:
    """Does what the supervisor of a group decides, and keeps the queue told."""

    def __init__(self, stage: Stage, workers: InlineWorkers, spec: InlineSpec, core_of: Callable[[str], QueueCore | None]) -> None:
        self.spec = spec
        self._stage = stage
        self._workers = workers
        self._core_of = core_of
        self._incarnation = next(_incarnations)
        self._serial = 0
        self._supervisor = Supervisor(spec.plan, spec.init_retry_s, self._new_id)
        self._own: dict[str, InlineWorker] = {}
        self._stopped = False

    async def start(self) -> None:
        """Fill every place."""
        self._do(self._supervisor.start())

    async def attend(self, core: QueueCore) -> None:
        """Make the states anew that this queue finds spoilt, for ever."""
        self.tell()
        while not self._stopped:
            changed = asyncio.ensure_future(core.workforce.change())
            await asyncio.sleep(0)  # so that it listens before we look
            for spoilt in await core.workforce.spoilt(self.spec.group, (), 0.0):
                actions = self._supervisor.spoilt(spoilt.worker_id, spoilt.epoch)
                if actions:  # else it is being made anew, and telling the queue so would only wake us again
                    self._do(actions)
            await changed

    async def stop(self) -> None:
        """End the workers: what they have in hand has ``shutdown_s``, then it goes back."""
        self._stopped = True
        worker_ids = self._supervisor.stopping()
        core = self._core_of(self.spec.queue)
        if core is not None:
            await core.retire(worker_ids, self._incarnation, self.spec.shutdown_s)
            core.workforce.remove_group(self.spec.group)
        for worker in list(self._own.values()):
            self._workers.kill(WorkerRef(worker.id, NODE))

    def tell(self) -> None:
        """Tell the queue how the workers stand."""
        core = self._core_of(self.spec.queue)
        if core is not None and not self._stopped:
            self._serial += 1
            core.update_roster(Roster(self.spec.group, self._incarnation, self._serial, self._supervisor.views(), self.spec.class_name,
                                      self.spec.methods, self.spec.prefetch, self.spec.concurrency))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Spawn():
                    self._stage.spawn(self._live(action))
                case Init():
                    self._stage.spawn(self._init(action))
                case Kill():
                    self._workers.kill(WorkerRef(action.worker_id, NODE))
                case _:
                    raise NotImplementedError(f"an inline group cannot {action!r}")
        self.tell()

    async def _live(self, spawn: Spawn) -> None:
        await asyncio.sleep(spawn.delay_s)
        if self._stopped:
            return
        worker = self._own[spawn.worker_id] = self._workers.living[spawn.worker_id] = InlineWorker(spawn.worker_id, self.spec)
        self._do(self._supervisor.spawned(worker.id, NODE, 0, {}))
        await worker.dead.wait()
        del self._own[worker.id]
        worker.close()
        self._do(self._supervisor.died(worker.id, Failure("exit", "WorkerDied", "the worker is gone")))

    async def _init(self, init: Init) -> None:
        await asyncio.sleep(init.delay_s)
        worker = self._own.get(init.worker_id)
        if worker is None or self._stopped:
            return
        failed = await self._stage.turn(worker.make, is_job=False)
        if failed is None:
            self._do(self._supervisor.initialised(init.worker_id, init.epoch))
        else:
            self._do(self._supervisor.init_failed(init.worker_id, init.epoch, *failed))

    def _new_id(self, slot: int, number: int) -> str:
        return names.worker_id(self.spec.queue, self.spec.group, slot, f"{number}{self._incarnation}")
