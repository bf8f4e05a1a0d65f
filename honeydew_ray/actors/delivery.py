"""Jobs on their way from a client to a queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayError, RayTaskError

from honeydew_ray.actors.away import is_away
from honeydew_ray.actors.ray_transport import unwrapped
from honeydew_ray.errors import EnqueueUncertain, QueueFull, QueueNotFound, UnknownMethod
from honeydew_ray.waiters import Waiter

_RETRY_S = 0.1


class Delivery:
    """Jobs on their way to a queue."""

    def __init__(self, queue: str, actor: Any, submission: bytes, buffers: Sequence[Any], waiters: Sequence[Waiter], timeout_s: float,
                 patience_s: float, gone: Callable[[], QueueNotFound], taken: Callable[[Sequence[Waiter], str], None]) -> None:
        self._queue = queue
        self._actor = actor
        self._submission = submission
        self._buffers = buffers
        self._waiters = waiters
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._gone = gone
        self._taken = taken
        self._deadline = time.monotonic() + timeout_s
        self.large = bool(buffers)  # what is sent after it may arrive before it
        self._sent = self._send()

    def confirm(self) -> None:
        """Return once the queue has custody.

        Tries again under the same ids while it is unclear whether the jobs arrived. Raises what the
        queue raises, `QueueNotFound` if it is gone (nothing was enqueued), `EnqueueUncertain`.
        """
        unclear = False
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                text = f"queue {self._queue!r} did not answer within {self._timeout_s:g} s; the job may be enqueued or not"
                raise EnqueueUncertain(text)
            try:
                incarnation: str = ray.get(self._sent, timeout=left)
            except ObjectLostError:  # large arguments were out of the queue's reach, as this process was to Ray for a while: send them anew
                time.sleep(_RETRY_S)
                self._sent = self._send()
            except RayTaskError as error:
                refusal = unwrapped(error)
                if not isinstance(refusal, QueueFull) or self._patience_s <= 0 or self._deadline - time.monotonic() < self._patience_s:
                    if unclear and isinstance(refusal, (QueueFull, QueueNotFound, UnknownMethod)):
                        raise EnqueueUncertain(f"an earlier try may have enqueued the job; the latest was refused: {refusal}") from None
                    raise refusal from None
                self._sent = self._send()
            except RayError as error:
                if not isinstance(error, GetTimeoutError) and not is_away(self._actor, error):
                    if unclear:
                        raise EnqueueUncertain(f"queue {self._queue!r} is gone; the job may have been enqueued or not") from error
                    raise self._gone() from error
                unclear = True
                time.sleep(_RETRY_S)
                self._sent = self._send()
            else:
                self._taken(self._waiters, incarnation)
                return

    def _send(self) -> Any:
        return self._actor.enqueue.remote(self._submission, *self._buffers)
