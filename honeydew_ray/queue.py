"""A handle on a queue, in any process of the cluster; starting and finding queues."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import length_hint
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from honeydew_ray import cards
from honeydew_ray.actors import client, cluster, names, queue_actor
from honeydew_ray.actors.client import QueueClient, client_of
from honeydew_ray.actors.cluster import NameTaken
from honeydew_ray.actors.queue_actor import QueueSpec
from honeydew_ray.arguments import expect_count, expect_name, expect_seconds, refuse, refuse_type
from honeydew_ray.dispatchers.base import Dispatcher
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.errors import QueueAlreadyStarted, QueueNotFound
from honeydew_ray.event_log import DEFAULT_KEPT
from honeydew_ray.event_stream import EventStream
from honeydew_ray.events import EventKind, expect_kinds
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.job_bar import wait_with_bar
from honeydew_ray.job_handle import Job
from honeydew_ray.judge import NodeLoss
from honeydew_ray.live import LiveView
from honeydew_ray.progress_bar import with_bar
from honeydew_ray.queue_core import QueuePolicy
from honeydew_ray.shipper import Sent, Shipper, SubmitOptions
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores._expressions import is_expression, plain
from honeydew_ray.stores.base import Page, Query, Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.subscribers.base import Subscriber
from honeydew_ray.success_modes.base import SuccessMode
from honeydew_ray.task import Task, task_of
from honeydew_ray.workers import start_workers, stop_workers

P = ParamSpec("P")
R = TypeVar("R")

_CHUNK = 500
_PAGE = 1000
_STOP_TIMEOUT_S = 60.0
_LOOK_TIMEOUT_S = 5.0
_GRACE_S = 5.0


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
        self._refuse_one_id("submit_many")
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
        self._refuse_one_id("map")
        results = self._map(task_of(task), iterables, window)
        return with_bar(self._client.queue, results, _length(iterables)) if progress else results

    def _chunk(self) -> int:
        """How many jobs go in one call: no more than a queue with a bound could take."""
        return min(_CHUNK, self._client.max_pending or _CHUNK)

    def _refuse_one_id(self, where: str) -> None:
        if self._options.job_id is not None:
            expected = "no job_id, since two jobs of one id are one job"
            raise refuse(where, "job_id", self._options.job_id, expected, "submit each job with an id of its own")

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


class Queue(Submitter):
    """A queue that runs in the cluster. The handle can be copied to any process of the cluster."""

    def __init__(self, queue_client: QueueClient) -> None:
        super().__init__(queue_client, SubmitOptions())

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    def _repr_html_(self) -> str:
        try:
            return self._client.call("status", timeout_s=_LOOK_TIMEOUT_S)._repr_html_()
        except Exception as error:  # a display must not fail; the queue may be gone
            return cards.gone_card(f"queue {self.name}", error).html

    def __reduce__(self) -> tuple[Any, ...]:
        return get_queue, (self.name,)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._client.queue

    def options(self, *, delay_s: float = 0.0, priority: int = 0, timeout_s: float | None = None, reply: bool = True,
                job_id: str | None = None, submit_timeout_s: float = 30.0,
                when_full: Literal["wait", "raise"] = "wait") -> Submitter:
        """How to submit: ``queue.options(delay_s=60).submit(...)``.

        ``delay_s``: not before so many seconds from now. ``priority``: higher runs first.
        ``timeout_s``: a job that runs longer is killed, with its worker, and the failure mode
        decides. ``reply=False``: nobody will ask for the result, so it is not sent. ``job_id``: an
        id of your own; two jobs of one id are one job. ``submit_timeout_s``: how long ``submit``
        tries to reach the queue, and waits for room in one that is full, before it raises `QueueFull`;
        ``when_full="raise"``: it does not wait for room.

        >>> job = photos.options(job_id="order-17", priority=5, timeout_s=60).submit("classify", "img1.png")
        >>> photos.options(job_id="order-17").submit("classify", "img1.png") == job
        True
        """
        return Submitter(self._client, SubmitOptions(delay_s, priority, timeout_s, reply, job_id, submit_timeout_s, when_full))

    def job(self, job_id: JobId) -> Job[Any]:
        """A handle on a job by its id, whoever submitted it.

        >>> id = photos.submit("classify", "img2.png").id
        >>> photos.job(id).result()
        'a dog'
        """
        return Job(self._client, job_id)

    def filter(self, predicate: Callable[[JobRecord], object] | str | Any = None, *, method: str | None = None,
               state: JobState | str | None = None) -> list[Job[Any]]:
        """Handles on the jobs that the queue holds - waiting, running or abandoned - and that match.

        ``predicate`` is called in this process, with each job's id, method, args, state and the rest. It may also be a state's name
        ("abandoned"), or, for a queue that is a table, "stale" or an expression of SQLAlchemy, which the database then looks up.

        >>> later = photos.options(delay_s=3600).submit("classify", "img9.png")
        >>> photos.filter(lambda job: job.args[0] == "img9.png") == photos.filter(state="delayed") == [later]
        True
        """
        where = None
        if is_expression(predicate):
            where, predicate = plain(predicate), None
        elif isinstance(predicate, str):
            state, predicate = predicate, None
        stale = state == "stale"
        if state is not None and not stale and state not in list(JobState):
            raise refuse("filter", "state", state, f"one of {', '.join(JobState)} or stale", 'state="pending"')
        if predicate is not None and not callable(predicate):
            raise refuse_type("filter", "predicate", predicate, "a function of a job, a state, or an expression of SQLAlchemy",
                              'filter(lambda job: job.method == "classify")')
        query = Query(state=None if state is None or stale else JobState(state), method=method, stale=stale, where=where)
        return [Job(self._client, record.id, record=record) for record in self._records(query) if predicate is None or predicate(record)]

    def wake(self) -> None:
        """Have the queue look for jobs now, as after inserting rows into the table that it polls."""
        self._client.call("wake")

    def status(self) -> QueueStatus:
        """Counts of jobs by state, and what each worker is doing, at this moment.

        >>> photos.status().store
        'MemoryStore'
        >>> [worker.group for worker in photos.status().workers]
        ['default']
        """
        return self._client.call("status")

    def watch(self, interval_s: float = 0.5, seconds: float | None = None) -> LiveView:
        """A live view for a notebook: depth, pace, workers and what each is doing, until it is stopped or the queue is gone.

        Looks every ``interval_s`` seconds, in a thread of its own; ``seconds`` ends it by itself. Needs the extra ``notebook``.
        """
        expect_seconds("watch", "interval_s", interval_s, positive=True)
        if seconds is not None:
            expect_seconds("watch", "seconds", seconds)
        return LiveView(self.name, lambda: self._client.call("status", timeout_s=_LOOK_TIMEOUT_S), interval_s, seconds)

    def progress_bar(self, jobs: Iterable[Job[Any]]) -> None:
        """Wait until all these jobs have ended, well or not, with a bar that fills meanwhile; their results are theirs to ask for.

        An interrupt (Ctrl-C, a notebook's stop button) leaves them running.

        >>> jobs = photos.submit_many("classify", ["img1.png", "img2.png"])
        >>> photos.progress_bar(jobs)
        >>> all(job.done() for job in jobs)
        True
        """
        wait_with_bar(self.name, list(jobs))

    def events(self, *, history: bool = False, follow: bool = True, kinds: Iterable[EventKind | str] = ()) -> EventStream:
        """What happens in this queue, from now on, as it happens: ``for event in queue.events(): print(event)``.

        ``history=True`` begins with the events that the queue still keeps (its latest ``events_kept``);
        ``follow=False`` ends with the latest instead of waiting for more. ``kinds``: only these. Reading
        never slows the queue: a reader that falls behind misses events, counted in the stream's ``missed``.
        Raises ``ValueError`` for a kind that does not exist, `QueueNotFound` once the queue is gone.
        """
        return EventStream(self._client, history=history, follow=follow, kinds=expect_kinds("events", kinds))

    def suspend(self) -> None:
        """Stop handing out jobs. On return nothing more can start; what runs, runs on.

        >>> photos.suspend()
        >>> photos.status().suspended
        True
        >>> photos.resume()
        """
        self._client.call("suspend", timeout_s=None)

    def resume(self) -> None:
        """Hand out jobs again."""
        self._client.call("resume")

    def start_workers(self, cls: type[Any] | None = None, *args: Any, **options: Any) -> None:
        """Start workers for this queue: see `honeydew.start_workers`."""
        start_workers(self.name, cls, *args, **options)

    def stop_workers(self, group: str = "default") -> None:
        """Stop a group of this queue's workers: see `honeydew.stop_workers`."""
        stop_workers(self.name, group)

    def wait_for_workers(self, num: int = 1, timeout: float = 60.0) -> None:
        """Return once ``num`` workers are ready for jobs; raises `TimeoutError` after ``timeout`` seconds."""
        expect_count("wait_for_workers", "num", num, least=1)
        if not self._client.call("wait_for_workers", num, timeout, timeout_s=timeout + _GRACE_S):
            states = ", ".join(f"{worker.id}: {worker.state}" for worker in self.status().workers) or "no workers started"
            raise TimeoutError(f"queue {self.name!r} has not {num} ready worker(s) after {timeout:g} s ({states})")

    def stop(self, *, drain: bool = False, timeout: float | None = None) -> None:
        """End the queue and its workers.

        Running jobs have their group's ``shutdown_s`` to finish, then they go back to the queue: a
        durable store keeps them, a memory queue's waiters get `QueueLost`. With ``drain=True`` no
        more jobs are taken and all those in the queue are finished first, delayed ones too, for up
        to ``timeout`` seconds; raises `QueueSuspended` if it is suspended, or `TimeoutError`, and
        then the queue goes on.
        """
        if drain:
            self._client.call("drain", timeout, timeout_s=None if timeout is None else timeout + _GRACE_S)
        for _, group in names.groups_among(cluster.actor_names(), self.name):
            stop_workers(self.name, group)
        try:
            self._client.call("close", timeout_s=_STOP_TIMEOUT_S)
        except QueueNotFound:  # stopped before; another queue may have its name by now
            self._client.finish()
            raise
        except BaseException:  # a store that does not open, or close, must not keep the queue from being ended
            self._end()
            raise
        self._end()

    def _end(self) -> None:
        self._client.finish()
        cluster.end_actor(self._client.actor, names.queue_actor(self.name))

    def _records(self, query: Query) -> Iterator[JobRecord]:
        cursor: Any = None
        while True:
            page: Page = self._client.call("page", query, cursor, _PAGE)
            yield from page.jobs
            cursor = page.cursor
            if cursor is None:
                return


_NO_KWARGS: Mapping[str, Any] = {}


def start_queue(
    name: str,
    *,
    store: Store | None = None,
    dispatcher: Dispatcher | None = None,
    failure_mode: FailureMode | None = None,
    success_mode: SuccessMode | None = None,
    suspended: bool | None = None,
    result_ttl_s: float = 600.0,
    max_redeliveries: int = 20,
    max_pending: int | None = None,
    node_loss: NodeLoss = "redeliver",
    subscribers: Iterable[Subscriber] = (),
    events_kept: int = DEFAULT_KEPT,
    ray_options: Mapping[str, Any] | None = None,
) -> Queue:
    """Start a queue in the cluster, connecting to Ray first if need be.

    It lives on after this process. Defaults: `MemoryStore()`, `LRUNode()`, `Abandon()`, no success
    mode. ``suspended=None``: as the store remembers. Results are kept for ``result_ttl_s`` seconds
    for whoever asks (the last 10,000 and 64 MiB of them at most). A job given back more than
    ``max_redeliveries`` times through no fault of its own goes to the failure mode as ``poison``.
    ``max_pending``: with so many jobs waiting, delayed ones too, `Submitter.submit` waits or raises `QueueFull`.
    ``node_loss="fail"`` hands a job whose node is lost to the failure mode instead of redelivering it.
    ``subscribers`` are told of the queue's events in its process, on threads of their own; the latest
    ``events_kept`` events, about 250 bytes each, are kept for whoever reads them (0: none, and nobody is told).
    ``ray_options`` places the queue's actor; without them a store whose files only this node can
    reach keeps the queue on this node, where Ray restarts it. Raises `QueueAlreadyStarted`, or what the store raises.

    >>> start_queue("photos")
    Traceback (most recent call last):
    ...
    honeydew_ray.errors.QueueAlreadyStarted: queue 'photos' runs already; get_queue("photos") finds it
    """
    expect_name("start_queue", "name", name)
    _expect("store", store, Store, "MemoryStore()")
    _expect("dispatcher", dispatcher, Dispatcher, "LRUNode()")
    _expect("failure_mode", failure_mode, FailureMode, "Retry(times=3)")
    _expect("success_mode", success_mode, SuccessMode, "Log()")
    if node_loss not in ("redeliver", "fail"):
        raise refuse("start_queue", "node_loss", node_loss, '"redeliver" or "fail"', 'node_loss="fail"')
    policy = QueuePolicy(
        name, dispatcher or LRUNode(), failure_mode or Abandon(), suspended,
        expect_seconds("start_queue", "result_ttl_s", result_ttl_s), expect_count("start_queue", "max_redeliveries", max_redeliveries),
        node_loss, None if max_pending is None else expect_count("start_queue", "max_pending", max_pending, least=1),
        expect_count("start_queue", "events_kept", events_kept),
    )
    listening = _expect_subscribers(subscribers)
    cluster.connect()
    options = dict(ray_options or {})
    if store is not None and store.node_local:
        options.setdefault("scheduling_strategy", cluster.stay_here())
    try:
        actor = queue_actor.create(QueueSpec(policy, store or MemoryStore(), success_mode, listening), options)
    except NameTaken:
        raise QueueAlreadyStarted(f'queue {name!r} runs already; get_queue("{name}") finds it') from None
    try:
        client.start(name, actor)
    except BaseException:
        cluster.end_actor(actor, names.queue_actor(name))
        raise
    return Queue(client_of(name))


def get_queue(name: str) -> Queue:
    """A handle on a queue that runs in the cluster; raises `QueueNotFound`.

    >>> get_queue("photos")
    <Queue 'photos'>
    """
    expect_name("get_queue", "name", name)
    cluster.connect()
    return Queue(client_of(name))


def queues() -> list[str]:
    """The names of the queues that run in the cluster.

    >>> "photos" in queues()
    True
    """
    cluster.connect()
    return names.queues_among(cluster.actor_names())


def _expect(what: str, value: object, family: type, example: str) -> None:
    if value is not None and not isinstance(value, family):
        hint = f"an instance of {family.__name__}, not the class" if isinstance(value, type) else f"an instance of {family.__name__}"
        raise refuse_type("start_queue", what, value, hint, f"{what}={example}")


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many calls there will be, if all that decide it say so."""
    lengths = [length_hint(iterable, -1) for iterable in iterables]
    known = [length for length in lengths if length >= 0]
    return min(known) if len(known) == len(lengths) and known else None


def _expect_subscribers(subscribers: Iterable[Subscriber]) -> tuple[Subscriber, ...]:
    given = (subscribers,) if isinstance(subscribers, Subscriber) else tuple(subscribers)
    for subscriber in given:
        _expect("subscribers", subscriber, Subscriber, "[LogEvents()]")
    return given


def _chunks(iterables: tuple[Iterable[Any], ...], size: int) -> Iterator[list[tuple[tuple[Any, ...], Mapping[str, Any]]]]:
    calls = zip(*iterables, strict=False)
    while chunk := [(call, _NO_KWARGS) for call in itertools.islice(calls, size)]:
        yield chunk


