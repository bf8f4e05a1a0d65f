"""A handle on a queue, in any process of the cluster; starting and finding queues."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from honeydew_ray import cards
from honeydew_ray.actors import client, cluster, names, queue_actor
from honeydew_ray.actors.client import QueueClient, client_of
from honeydew_ray.actors.cluster import NameTaken
from honeydew_ray.actors.queue_actor import QueueSpec
from honeydew_ray.arguments import expect_count, expect_flag, expect_name, expect_seconds
from honeydew_ray.dispatchers.base import Dispatcher
from honeydew_ray.errors import QueueAlreadyStarted, QueueNotFound, WorkersNotFound
from honeydew_ray.event_log import DEFAULT_KEPT
from honeydew_ray.event_stream import EventStream
from honeydew_ray.events import EventKind, expect_kinds
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.job_bar import wait_with_bar
from honeydew_ray.job_handle import Job
from honeydew_ray.judge import NodeLoss
from honeydew_ray.live import LiveView
from honeydew_ray.query_arguments import query_of
from honeydew_ray.queue_arguments import expect_instance, expect_subscribers, policy_of
from honeydew_ray.ray_options import options_of
from honeydew_ray.shipper import SubmitOptions
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Page, Query, Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.submitter import Submitter
from honeydew_ray.subscribers.base import Subscriber
from honeydew_ray.success_modes.base import SuccessMode
from honeydew_ray.worker_groups import start_workers, stop_workers

_PAGE = 1000
_STOP_TIMEOUT_S = 60.0
_LOOK_TIMEOUT_S = 5.0
_GRACE_S = 5.0


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
        query, fits = query_of(predicate, method, state)
        return [Job(self._client, record.id, record=record) for record in self._records(query) if fits is None or fits(record)]

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
            with contextlib.suppress(WorkersNotFound):  # somebody else stopped it meanwhile
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
    strict_security: bool = False,
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
    In a cluster that asks for no token and that other machines may reach, the queue's process logs a warning; with
    ``strict_security=True`` it raises `InsecureCluster` instead.
    ``ray_options`` places the queue's actor; unless they name a ``scheduling_strategy``, a store whose files only this
    node can reach keeps the queue on this node, where Ray restarts it. Raises `QueueAlreadyStarted`, `PayloadError` if
    the policies or the store cannot be pickled, or what the store raises.

    >>> start_queue("photos")
    Traceback (most recent call last):
    ...
    honeydew_ray.errors.QueueAlreadyStarted: queue 'photos' runs already; get_queue("photos") finds it
    """
    policy = policy_of(name, dispatcher, failure_mode, suspended, result_ttl_s=result_ttl_s, max_redeliveries=max_redeliveries,
                       max_pending=max_pending, node_loss=node_loss, events_kept=events_kept)
    expect_instance("store", store, Store, "MemoryStore()")
    expect_instance("success_mode", success_mode, SuccessMode, "Log()")
    listening = expect_subscribers(subscribers)
    expect_flag("start_queue", "strict_security", strict_security)
    options = options_of("start_queue", ray_options)
    cluster.connect()
    if store is not None and store.node_local:
        options.setdefault("scheduling_strategy", cluster.stay_here())
    spec = QueueSpec(policy, MemoryStore() if store is None else store, success_mode, listening, strict_security)
    try:
        queue_actor.create(spec, options, lambda actor: client.start(name, actor))
    except NameTaken:
        raise QueueAlreadyStarted(f'queue {name!r} runs already; get_queue("{name}") finds it') from None
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
