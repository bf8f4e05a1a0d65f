"""The names under which Honeydew's actors are found in a cluster."""

from __future__ import annotations

import re

NAMESPACE = "honeydew"

_QUEUE = "queue/"
_GROUP = "workers/"
_WORKER = "worker/"


def queue_actor(queue: str) -> str:
    """The name of a queue's actor."""
    return _QUEUE + queue


def group_actor(queue: str, group: str) -> str:
    """The name of a worker group's actor."""
    return f"{_GROUP}{queue}/{group}"


def worker_actor(worker_id: str) -> str:
    """The name of a worker's actor."""
    return _WORKER + worker_id


def worker_id(queue: str, group: str, slot: int, unique: str) -> str:
    """The id of a worker in a slot; ``unique`` makes sure that it is never used twice."""
    return f"{queue}/{group}/{slot}-{unique}"


def slot_of(worker: str) -> int:
    """The slot that a worker's id names."""
    return int(worker.rsplit("/", 1)[1].split("-", 1)[0])


def queues_among(names: list[str]) -> list[str]:
    """The queues whose actors are among these actors."""
    return sorted(name.removeprefix(_QUEUE) for name in names if name.startswith(_QUEUE))


def groups_among(names: list[str], queue: str | None = None) -> list[tuple[str, str]]:
    """The worker groups whose actors are among these, as (queue, group)."""
    pairs = (name.removeprefix(_GROUP).split("/", 1) for name in names if name.startswith(_GROUP))
    return sorted((of, group) for of, group in pairs if queue is None or of == queue)


def workers_among(names: list[str], queue: str, group: str | None = None) -> list[str]:
    """The ids of a queue's workers, or of one group's, whose actors are among these."""
    groups = "[^/]+" if group is None else re.escape(group)
    pattern = re.compile(re.escape(f"{_WORKER}{queue}/") + groups + r"/\d+-\w+")
    return sorted(name.removeprefix(_WORKER) for name in names if pattern.fullmatch(name))


def worker_prefix(queue: str, group: str) -> str:
    """What the ids of a group's workers begin with."""
    return f"{queue}/{group}/"
