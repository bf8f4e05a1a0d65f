"""Quick looks at queues from outside, each bounded in time, whatever state the queues are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from honeydew_ray.actors import cluster, names
from honeydew_ray.actors.client import QueueClient
from honeydew_ray.actors.ray_transport import unwrapped
from honeydew_ray.errors import QueueNotFound
from honeydew_ray.job import JobRecord
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Page, Query

PATIENCE_S = 5.0
"""How long a queue may take to answer somebody who only looks."""

_PAGE = 1000


def queue_names() -> list[str]:
    """The names of the queues that run."""
    return names.queues_among(cluster.actor_names())


def statuses(queues: Sequence[str], timeout_s: float = PATIENCE_S) -> list[tuple[str, QueueStatus | Exception]]:
    """The status of each queue, or why there is none; all are asked at once."""
    asked = [(queue, _ask(queue)) for queue in queues]
    refs = [ref for _, ref in asked if not isinstance(ref, Exception)]
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=timeout_s)
    return [(queue, ref if isinstance(ref, Exception) else _answer(queue, ref, timeout_s)) for queue, ref in asked]


def listing(client: QueueClient, query: Query, limit: int | None = None, timeout_s: float = 60.0) -> Iterator[JobRecord]:
    """The jobs that match, up to ``limit``, as records that need no class of the user's."""
    cursor: Any = None
    left = limit
    while left is None or left > 0:
        page: Page = client.call("listing", query, cursor, _PAGE if left is None else min(left, _PAGE), timeout_s=timeout_s)
        yield from page.jobs
        left = None if left is None else left - len(page.jobs)
        cursor = page.cursor
        if cursor is None:
            return


def _ask(queue: str) -> Any:
    try:
        return cluster.find_queue(queue).status.remote()
    except QueueNotFound as error:  # it ended meanwhile
        return error


def _answer(queue: str, ref: Any, timeout_s: float) -> QueueStatus | Exception:
    try:
        return ray.get(ref, timeout=0)
    except GetTimeoutError:
        return TimeoutError(f"queue {queue!r} did not answer within {timeout_s:g} s")
    except RayTaskError as error:
        return unwrapped(error)
    except RayError as error:
        return QueueNotFound(f"queue {queue!r} does not answer: {str(error).splitlines()[0]}")
