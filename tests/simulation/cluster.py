"""A simulated Ray cluster: nodes, actors, and calls between them that are delayed, reordered, lost, and cut off by deaths."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.history import History
from tests.simulation.loop import Process, current_process, start_in

HEAD = "head"
DEATH_SEEN_S = 0.02
NODE_LOSS_SEEN_S = 3.0
RESTART_S = 1.3
NEW_ACTOR_S = 0.3
ORPHANS_LIVE_S = 0.5  # less than it takes to start a process in place of the one that sent them


class CallFailed(Exception):
    """A call to an actor has no answer."""


class ActorUnavailable(CallFailed):
    """It may have been executed or not, and the actor may live on."""


class ActorDied(CallFailed):
    """The actor is gone for good."""


class CallRaised(CallFailed):
    """The actor lives, and the call raised there: what Ray tells as a `RayTaskError`."""


@dataclass(eq=False)
class Actor:
    """What a name in the cluster stands for; with ``restarts``, Ray starts its process again when it dies."""

    name: str
    make: Callable[[Process], Any]
    restarts: bool = False
    home: str | None = None  # the only node it may run on
    aim: str | None = None  # the node that it is to have if there is room
    doomed: bool = False  # Ray was asked to end it
    dead: bool = False
    node_lost: bool = False
    process: Process | None = None
    instance: Any = None  # of the latest process; what a dead one left behind can be looked at


@dataclass(eq=False)
class _Call:
    caller: Process | None
    actor: Actor
    method: str
    args: tuple[Any, ...]
    reply: asyncio.Future[Any]
    process: Process | None = None  # that it reached
    answered: bool = False
    failed: bool = False
    sent_at: float = 0.0


@dataclass
class Weather:
    """How calls fare: the delays to choose from, in seconds, how often a call is lost, and those of which methods more often.

    ``dying_s``: how long a process that was killed lives on when Ray has said that it is dead.
    """

    delays_s: list[float] = field(default_factory=lambda: [0.001])
    lost: float = 0.0
    deaf_to: frozenset[str] = frozenset()
    dying_s: float = 0.0

    def share_lost(self, method: str) -> float:
        """How likely a call of this method is lost on its way there, and as likely on its way back."""
        return 0.35 if method in self.deaf_to else self.lost / 2


class Cluster:
    """Delivers calls, and does to processes and nodes what the faults say."""

    def __init__(self, rng: random.Random, history: History, nodes: list[str]) -> None:
        self.weather = Weather()
        self.actors: dict[str, Actor] = {}
        self.nodes: dict[str, bool] = dict.fromkeys([HEAD, *nodes], True)
        self.cut_off: set[str] = set()  # nodes whose messages go nowhere, though their processes live
        self.draining: dict[str, float] = {}  # nodes that get no more processes, and by the wall clock when each leaves; infinity: not said
        self.lost_calls = 0
        self.processes: list[Process] = []
        self._rng = rng
        self._history = history
        self._open_calls: dict[_Call, None] = {}
        self._declared: set[str] = set()  # those cut off that Ray knows to be lost

    # -- actors --------------------------------------------------------------------------------

    async def create(self, actor: Actor) -> None:
        """Start an actor; returns when it has a name, before it is up."""
        await asyncio.sleep(self._rng.choice(self.weather.delays_s))
        self.actors[actor.name] = actor
        self._after(NEW_ACTOR_S, self._bring_up, actor)

    def find(self, name: str) -> Actor | None:
        """The actor of this name, if it is not dead."""
        actor = self.actors.get(name)
        return None if actor is None or actor.dead else actor

    def kill(self, actor: Actor) -> None:
        """End it for good, soon: what `ray.kill` does."""
        actor.doomed = True
        self._after(self._delay(), self._kill_now, actor)

    def _kill_now(self, actor: Actor) -> None:
        actor.dead = True
        process = actor.process
        if process is None or process.dead or process.node in self.cut_off:
            return
        if self.weather.dying_s and not actor.restarts:
            self._after(DEATH_SEEN_S, self._fail_calls_of, process, ActorDied(f"{actor.name} was killed"))
            self._after(self.weather.dying_s * self._rng.random(), process.kill)
        else:
            process.kill()

    def _bring_up(self, actor: Actor) -> None:
        if actor.dead:
            return
        open_nodes = [node for node, alive in self.nodes.items() if alive and node not in self.cut_off and node not in self.draining]
        places = [node for node in open_nodes if actor.home in (None, node)]
        if not places and not actor.restarts and actor.home is not None and not self.is_alive(actor.home):
            actor.dead = actor.node_lost = True  # Ray: it can never be scheduled
            return
        if not places:
            self._after(1.0, self._bring_up, actor)
            return
        node = actor.aim if actor.aim in places else self._rng.choice([place for place in places if place != HEAD] or places)
        actor.process = process = Process(actor.name, node)
        self.processes.append(process)
        process.on_death.append(lambda: self._died(actor, process))
        actor.instance = actor.make(process)
        self._history.note("up", actor=actor.name, node=node)
        begin = getattr(actor.instance, "begin", None)
        if begin is not None:
            start_in(process, begin())

    def _died(self, actor: Actor, process: Process) -> None:
        self._history.note("down", actor=actor.name)
        lost = not self.nodes[process.node] or process.node in self.cut_off
        seen_s = NODE_LOSS_SEEN_S if lost else DEATH_SEEN_S
        if actor.restarts and not actor.dead:
            self._after(seen_s + RESTART_S, self._bring_up, actor)
            self._after(seen_s + RESTART_S + 0.1, self._fail_calls_of, process, ActorUnavailable(f"{actor.name} restarts"))
        else:
            actor.dead = True
            actor.node_lost = lost
            self._after(seen_s, self._fail_calls_of, process, ActorDied(f"{actor.name} died"))

    # -- nodes ---------------------------------------------------------------------------------

    def is_alive(self, node: str) -> bool:
        """Whether Ray counts a node as alive."""
        return self.nodes.get(node, False) and node not in self._declared

    def lose_node(self, node: str) -> None:
        """Its machine goes down."""
        self.nodes[node] = False
        self.draining.pop(node, None)
        for process in self._on(node):
            process.kill()

    def cut_node_off(self, node: str, lives_on_s: float) -> None:
        """The cluster takes a node for lost, and its processes go on for a while, unheard."""
        self.cut_off.add(node)
        for actor in list(self.actors.values()):
            if actor.restarts and actor.process is not None and actor.process.node == node:
                actor.process.kill()  # that two processes of one queue or group are alive at once, one of them cut off, is not played here
        self._after(NODE_LOSS_SEEN_S, self._declare_lost, node)
        self._after(NODE_LOSS_SEEN_S + lives_on_s, self._end_cut_off, node)

    def _declare_lost(self, node: str) -> None:
        self._declared.add(node)
        for actor in [actor for actor in self.actors.values() if actor.process is not None and actor.process.node == node]:
            if actor.dead or actor.process is None or actor.process.dead:
                continue
            actor.node_lost = True
            self._fail_calls_of(actor.process, ActorDied(f"{actor.name}: its node is lost"))
            actor.process = None
            if actor.restarts:
                self._after(RESTART_S, self._bring_up, actor)
            else:
                actor.dead = True

    def _end_cut_off(self, node: str) -> None:
        for process in self._on(node):
            process.kill()
        self.nodes[node] = False
        self.draining.pop(node, None)
        self.cut_off.discard(node)
        self._declared.discard(node)

    def bring_back(self, node: str) -> None:
        """A machine of this name joins, empty; one that drains stays, and drains no more."""
        if node not in self.cut_off:
            self.nodes[node] = True
            self.draining.pop(node, None)

    def _on(self, node: str) -> list[Process]:
        return [process for process in self.processes if process.node == node and not process.dead]

    # -- calls ---------------------------------------------------------------------------------

    async def call(self, actor: Actor, method: str, *args: Any) -> Any:
        """Call a method of an actor: its value or its exception, `ActorDied`, or `ActorUnavailable`."""
        call = _Call(current_process(), actor, method, args, asyncio.get_running_loop().create_future())
        call.sent_at = asyncio.get_running_loop().time()
        self._open_calls[call] = None
        if self._rng.random() < self.weather.share_lost(method):
            self._lose(call)
        else:
            self._after(self._delay(), self._deliver, call)
        return await call.reply

    def _deliver(self, call: _Call) -> None:
        actor, process = call.actor, call.actor.process
        if call.failed or self._is_orphan(call):
            return
        if actor.dead:
            self._after(DEATH_SEEN_S, self._fail, call, ActorDied(f"{actor.name} is dead"))
        elif process is None:
            if actor.instance is None:  # it is being made: Ray keeps the call for it
                self._after(0.05, self._deliver, call)
            else:
                self._after(DEATH_SEEN_S, self._fail, call, ActorUnavailable(f"{actor.name} restarts"))
        elif process.dead:
            self._after(DEATH_SEEN_S, self._fail, call, ActorUnavailable(f"{actor.name} restarts"))
        else:
            call.process = process
            if process.node not in self.cut_off:
                start_in(process, self._serve(call, actor.instance))

    def _is_orphan(self, call: _Call) -> bool:
        """Whether its caller cannot be heard any more; what it sent just before its death may still arrive."""
        if call.caller is None:
            return False
        if call.caller.node in self.cut_off:
            return True
        late = asyncio.get_running_loop().time() - call.sent_at > ORPHANS_LIVE_S
        return call.caller.dead and (late or self._rng.random() < 0.5)

    async def _serve(self, call: _Call, instance: Any) -> None:
        value, error = None, None
        try:
            value = await getattr(instance, call.method)(*call.args)
        except Exception as raised:
            error = raised
        Context().run(self._answer, call, value, error)

    def _answer(self, call: _Call, value: Any, error: Exception | None) -> None:
        if call.process is None or call.process.dead or call.process.node in self.cut_off:
            return
        call.answered = True
        if self._rng.random() < self.weather.share_lost(call.method):
            self._lose(call)
        elif error is not None:
            self._after(self._delay(), self._fail, call, error)
        else:
            self._after(self._delay(), self._succeed, call, value)

    def _lose(self, call: _Call) -> None:
        self.lost_calls += 1
        self._after(self._delay() + 0.5, self._fail, call, ActorUnavailable(f"{call.actor.name}: connection lost"))

    def break_connections(self, actor: Actor) -> int:
        """All calls that an actor has yet to answer fail, though it goes on with them; how many."""
        broken = [call for call in self._open_calls if call.process is actor.process and not call.answered]
        for call in broken:
            self._fail(call, ActorUnavailable(f"{actor.name}: connection broken"))
        return len(broken)

    def _succeed(self, call: _Call, value: Any) -> None:
        self._open_calls.pop(call, None)
        if not call.reply.done():
            call.reply.set_result(value)

    def _fail(self, call: _Call, error: Exception) -> None:
        self._open_calls.pop(call, None)
        call.failed = True
        if not call.reply.done():
            call.reply.set_exception(error)
            call.reply.exception()  # whoever called may be dead, and never look

    def _fail_calls_of(self, process: Process, error: Exception) -> None:
        for call in [call for call in self._open_calls if call.process is process and not call.answered]:
            self._fail(call, error)

    def _delay(self) -> float:
        return self._rng.choice(self.weather.delays_s) * (0.5 + self._rng.random())

    def _after(self, delay_s: float, do: Callable[..., None], *args: Any) -> None:
        Context().run(asyncio.get_running_loop().call_later, delay_s, do, *args)
