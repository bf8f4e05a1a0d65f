"""The checks at the end of a run, when all is healed and drained."""

from __future__ import annotations

from honeydew_ray.errors import HoneydewError
from honeydew_ray.placement import Plan
from honeydew_ray.status import QueueStatus, WorkerState
from honeydew_ray.stores.base import Query
from tests.simulation.cluster import HEAD, CallFailed
from tests.simulation.deeds import Driver
from tests.simulation.loop import start_in
from tests.simulation.world import World


async def check_places(world: World, drivers: list[Driver]) -> None:
    """Each job that was taken is in one place, nothing is left over, and all workers are at rest."""
    if world.promises.complaints:
        return
    accepted = [job for event in world.history.events if event.kind == "accepted" for job in dict(event.facts)["jobs"]]
    for job in dict.fromkeys(accepted):
        places = world.promises.where(job)
        final = [place for place in places if place[1] != "moved"]
        if len(final) != 1 and not (len(final) == 2 and world.promises.twice_by_rights(job)):
            world.promises.complain(f"promise 2: job {job} was accepted, and is in {len(final)} places: {places}")
    for queue in world.scenario.stores:
        await _check_rest(world, queue, drivers[0])


async def _check_rest(world: World, queue: str, driver: Driver) -> None:
    live = world.live_queue(queue)
    if live is None:
        world.promises.complain(f"liveness: queue {queue} is not up")
        return
    core = live.core
    kept = {"monitors": core.floor.monitors, "jobs that nobody watches": core.floor.holdings,
            "ends ordered": core.floor.settlement._called_off}
    for what, left in kept.items():
        if left:
            world.promises.complain(f"leak: queue {queue} is at rest, and has {what}: {list(left)}")
    try:
        status = await start_in(driver.process, driver.clients[queue].call("status"))
    except (HoneydewError, CallFailed) as error:
        world.promises.complain(f"liveness: queue {queue} does not say how it stands: {error!r}")
        return
    if (status.pending, status.delayed, status.in_progress) != (0, 0, 0):
        world.promises.complain(f"leak: queue {queue} is drained, and counts {status}")
    dead = sum(entry.left is None for entry in world.promises.ledgers[queue].entries.values())
    if status.abandoned != dead:
        world.promises.complain(f"promise 2: queue {queue} counts {status.abandoned} dead jobs, and was given {dead}")
    held = sorted(job.id for job in (await live.store.inner.page(Query(), limit=1_000_000)).jobs)
    if held != sorted(world.promises.ledgers[queue].present()):
        world.promises.complain(f"promise 2: queue {queue} should hold {sorted(world.promises.ledgers[queue].present())}, and holds {held}")
    _check_staff(world, queue, status)


def _check_staff(world: World, queue: str, status: QueueStatus) -> None:
    """A queue at rest has as many workers as its plan says, on the nodes that it says, and all are idle."""
    staff = world.scenario.staff if queue == "main" else Plan()
    busy = [worker.id for worker in status.workers if worker.state is not WorkerState.IDLE]
    nodes = [node for node in world.cluster.nodes if world.cluster.is_alive(node) and node != HEAD]
    wanted = staff.least if staff.per_node is None else staff.per_node * len(nodes)
    if busy or len(status.workers) != wanted:
        world.promises.complain(f"liveness: queue {queue} has no work, and of its {wanted} workers these are not idle:\n{status}")
    unevenly = [node for node in nodes if staff.per_node not in (None, sum(worker.node == node for worker in status.workers))]
    if unevenly:
        world.promises.complain(f"num_per_node: on {unevenly} there are not {staff.per_node} workers:\n{status}")


async def say(world: World, queue: str) -> str:
    """All that a queue knows of how it stands, for whoever looks into why it does not go on."""
    live = world.live_queue(queue)
    if live is None:
        return f"queue {queue!r} is not up"
    status = await live.core.status()
    monitors = [f"  {monitor.token} with {monitor.worker.id}, answered: {monitor.answered}, ordered: {monitor.ordered}"
                for monitor in live.core.floor.monitors.values()]
    return "\n".join([str(status), *monitors])
