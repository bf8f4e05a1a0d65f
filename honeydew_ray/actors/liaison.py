"""A worker group's line to its queue, which may not run yet, may be restarted under it, and may be gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.exceptions import RayError

from honeydew_ray.actors import cluster
from honeydew_ray.actors.away import is_away_async
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.roster import Load, Roster, Spoilt

_LOOK_FOR_QUEUE_S = 0.25
_RESTART_S = 15.0  # within which Ray has restarted a queue that died
_ATTEND_S = 30.0


class Liaison:
    """Finds the queue, follows it through its restarts, tells it of the group, and hears from it.

    Once it is ``closed``, as its group stops, the queue is told no more of the workers, and asked only to let go of them.
    """

    def __init__(self, queue: str, group: str, incarnation: str) -> None:
        self.closed = False
        self.introduced = asyncio.Event()  # the queue knows of the group, or there is none to tell
        self._name = queue
        self._group = group
        self._incarnation = incarnation  # of the group's process
        self._queue: Any = None  # None: it has yet to be found, or found again
        self._leaving: Any = None  # the queue that was asked to let go of the workers
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """The workers stand otherwise than the queue was told."""
        self._changed.set()

    async def ask(self, method: str, *args: Any) -> Any:
        """What the queue answers, through restarts of its process; None if it is gone."""
        while not self.closed:
            try:
                queue = self._queue or await asyncio.to_thread(cluster.find_queue, self._name)
            except QueueNotFound:
                return None
            try:
                return await getattr(queue, method).remote(*args)
            except RayError as error:
                if not await is_away_async(queue, error):
                    return None
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
        return None

    async def load(self) -> Load | None:
        """How much there is to do; None if the queue cannot say at the moment."""
        if self._queue is None:
            return None
        with contextlib.suppress(RayError):
            return await self._queue.load.remote(self._group)
        return None

    async def attend(self, is_there: Callable[[str], bool], spoilt: Callable[[Spoilt], None]) -> None:
        """Hear, for as long as the line is open, whose state the queue found spoilt; ``is_there`` tells whether a worker still is."""
        handled: list[Spoilt] = []
        while not self.closed:
            try:
                if self._queue is None:
                    self._queue = await asyncio.to_thread(cluster.find_queue, self._name)
                    self._changed.set()
                found: list[Spoilt] = await self._queue.attend.remote(self._group, handled, _ATTEND_S)
                handled = [one for one in handled if is_there(one.worker_id)] + found
                for one in found:
                    spoilt(one)
            except (QueueNotFound, RayError) as error:
                self._queue = None
                if isinstance(error, QueueNotFound):
                    self.introduced.set()
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)

    async def keep_told(self, roster: Callable[[], Roster], handles: Mapping[str, Any]) -> None:
        """Tell the queue how the workers stand, and their handles, whenever that has changed."""
        while not self.closed:
            await self._changed.wait()
            self._changed.clear()
            if self._queue is None or self.closed:
                continue  # finding it counts as a change; and a group that stops has taken its leave
            began = time.monotonic()
            try:
                await self._queue.update_roster.remote(roster(), dict(handles))
                self.introduced.set()
                await asyncio.sleep(time.monotonic() - began)  # a large group that starts has much to tell: half of the time will do
            except RayError:  # it restarts, or a connection broke: tell it again
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
                self._changed.set()

    async def retire(self, worker_ids: list[str], shutdown_s: float) -> None:
        """Have the queue take its jobs back; a queue that is away is waited for, one that is gone has nothing to take back."""
        self._leaving = self._queue
        with contextlib.suppress(QueueNotFound):
            self._leaving = self._leaving or await asyncio.to_thread(cluster.find_queue, self._name)  # None while it restarts
            await self._retire(self._leaving, worker_ids, shutdown_s)

    async def leave(self) -> None:
        """The workers are gone: the queue may forget the group."""
        if self._leaving is not None:
            with contextlib.suppress(RayError):
                await self._leaving.remove_group.remote(self._group)

    async def _retire(self, queue: Any, worker_ids: list[str], shutdown_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + shutdown_s + _RESTART_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                await queue.retire.remote(worker_ids, self._incarnation, shutdown_s)
                return
            except RayError as error:
                if not await is_away_async(queue, error):
                    return
                await asyncio.sleep(_LOOK_FOR_QUEUE_S)
