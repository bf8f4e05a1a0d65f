"""Submitting jobs to a queue, with one set of options."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import length_hint
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from honeydew_ray.actors.client import QueueClient
from honeydew_ray.arguments import expect_count
from honeydew_ray.job_handle import Job
from honeydew_ray.progress_bar import with_bar
from honeydew_ray.shipper import Sent, Shipper, SubmitOptions
from honeydew_ray.task import Task, task_of

P = ParamSpec("P")
R = TypeVar("R")

_CHUNK = 500
_NO_KWARGS: Mapping[str, Any] = {}


class Submitter:
    """Submits jobs to a queue, with one set of options."""

    def __init__(self, queue_client: QueueClient, options: SubmitOptions) -> None:
        self.shipper = Shipper(queue_client, options)
        self._client = queue_client
        self._options = options

    @overload
    def submit(self, task: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    @overload
    def submit(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    @overload
    def submit(self, task: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue one job; on return the queue has custody of it.

        ``task`` is the name of a method of the worker class, the method itself
        (``Classifier.classify``), or a function. Raises, with nothing enqueued: `PayloadError` if an
        argument cannot be pickled, `UnknownMethod`, `QueueNotFound`, `QueueFull`. Raises `EnqueueUncertain`,
        with the job's handle, if the queue did not answer within ``submit_timeout_s``.

        >>> photos.submit("classify", "img1.png").result(timeout=30)
        'a cat'
        >>> photos.submit(len, "img1.png").result()
        8
        """
        return self._enqueue(task_of(task), [(args, kwargs)])[0]

    def submit_many(self, task: Any, /, *iterables: Iterable[Any]) -> list[Job[Any]]:
        """Enqueue one job for each item, or for each tuple of items of several iterables, as ``map`` would.

        One call to the queue carries 500 jobs. Returns their handles in order; raises as `submit`
        does, at the first chunk that fails.

        >>> jobs = photos.submit_many("classify", ["img1.png", "img2.png"])
        >>> [job.result() for job in jobs]
        ['a cat', 'a dog']
        """
        self._options.refuse_one_id("submit_many")
        jobs: list[Job[Any]] = []
        task = task_of(task)
        ahead: Sent | None = None
        for chunk in _chunks(iterables, self._chunk()):  # one chunk is made while the one before is on its way
            if ahead is not None and ahead.delivery.large:
                jobs += ahead.confirmed()
                ahead = None
            sent = self._send(task, chunk)
            if ahead is not None:
                jobs += ahead.confirmed()
            ahead = sent
        return jobs if ahead is None else jobs + ahead.confirmed()

    def map(self, task: Any, /, *iterables: Iterable[Any], window: int = 2000, progress: bool = False) -> Iterator[Any]:
        """The results of one job for each item, in order, as they come.

        Submits as you consume: at most ``window`` jobs are ahead of you, so the iterables may be
        endless. A job that fails raises at its turn, as `Job.result` does; those after it run on.
        ``progress=True`` shows a bar that fills as you consume. An interrupt leaves the jobs running, and says how to find them.

        >>> list(photos.map("classify", ["img1.png", "img2.png"]))
        ['a cat', 'a dog']
        """
        expect_count("map", "window", window, least=1)
        self._options.refuse_one_id("map")
        results = self._map(task_of(task), iterables, window)
        return with_bar(self._client.queue, results, _length(iterables)) if progress else results

    def _chunk(self) -> int:
        """How many jobs go in one call: no more than a queue with a bound could take."""
        return min(_CHUNK, self._client.max_pending or _CHUNK)

    def _map(self, task: Task, iterables: tuple[Iterable[Any], ...], window: int) -> Iterator[Any]:
        calls = zip(*iterables, strict=False)
        ahead: deque[Job[Any]] = deque()
        refill = max(window // 2, 1)  # a half at a time, so that one call to the queue carries many jobs
        while True:
            if len(ahead) <= window - refill:
                chunk = [(call, _NO_KWARGS) for call in itertools.islice(calls, min(refill, self._chunk()))]
                ahead.extend(self._enqueue(task, chunk) if chunk else ())
            if not ahead:
                return
            yield self._next_result(ahead, task)

    def _next_result(self, ahead: deque[Job[Any]], task: Task) -> Any:
        try:
            return ahead.popleft().result()
        except KeyboardInterrupt:
            again = f'honeydew.get_queue("{self._client.queue}").filter(method="{task.name}")'
            raise KeyboardInterrupt(f"the jobs submitted so far go on; {again} lists those that wait or run") from None

    def _enqueue(self, task: Task, calls: list[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> list[Job[Any]]:
        return self._send(task, calls).confirmed()

    def _send(self, task: Task, calls: list[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> Sent:
        return self.shipper.send([self.shipper.pack(task, args, kwargs) for args, kwargs in calls])


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many calls there will be, if all that decide it say so."""
    lengths = [length_hint(iterable, -1) for iterable in iterables]
    known = [length for length in lengths if length >= 0]
    return min(known) if len(known) == len(lengths) and known else None


def _chunks(iterables: tuple[Iterable[Any], ...], size: int) -> Iterator[list[tuple[tuple[Any, ...], Mapping[str, Any]]]]:
    calls = zip(*iterables, strict=False)
    while chunk := [(call, _NO_KWARGS) for call in itertools.islice(calls, size)]:
        yield chunk
