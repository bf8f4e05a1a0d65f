"""The workers of a queue, as their groups have told of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from honeydew_ray.roster import Roster, WorkerView


class Rosters:
    """The latest roster of each group.

    A roster that is older than the one known is refused, and so is one of a group's process that
    was replaced or removed: word may come late, or twice. A worker is barred from the moment when
    it is gone, or somebody asked for its end, until its group has it no more.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Roster] = {}  # by group
        self._past: set[tuple[str, str]] = set()  # (group, incarnation) of group processes that were replaced or removed
        self._barred: dict[str, str] = {}  # with the incarnation of the group's process that knows of it

    # -- what groups tell --------------------------------------------------------------------

    def take(self, roster: Roster) -> Sequence[WorkerView] | None:
        """The workers that the group has no more; None if the roster is older than the one known."""
        if (roster.group, roster.incarnation) in self._past:
            return None
        known = self._latest.get(roster.group)
        if known is not None and known.incarnation != roster.incarnation:
            self._past.add((known.group, known.incarnation))
        elif known is not None and known.serial >= roster.serial:
            return None
        self._latest[roster.group] = roster
        present = {view.ref.id for view in roster.workers}
        return self._dropped(view for view in (() if known is None else known.workers) if view.ref.id not in present)

    def remove(self, group: str) -> Sequence[WorkerView]:
        """The workers that a group had which is gone, and which nobody will tell of again."""
        roster = self._latest.pop(group, None)
        if roster is None:
            return []
        self._past.add((group, roster.incarnation))
        dropped = self._dropped(roster.workers)
        gone = {incarnation for past, incarnation in self._past if past == group}
        self._barred = {worker_id: by for worker_id, by in self._barred.items() if by not in gone}
        return dropped

    def _dropped(self, views: Iterable[WorkerView]) -> Sequence[WorkerView]:
        dropped = list(views)
        for view in dropped:
            self._barred.pop(view.ref.id, None)
        return dropped

    # -- who gets no more jobs ---------------------------------------------------------------

    def bar(self, worker_id: str, by: str) -> None:
        """A worker, which may not be ready yet, gets no more jobs. ``by``: the incarnation of the group's process that knows of it."""
        self._barred[worker_id] = by

    def is_barred(self, worker_id: str) -> bool:
        """Whether it gets no more jobs."""
        return worker_id in self._barred

    def stranded(self) -> list[tuple[Roster, WorkerView]]:
        """The workers that get no more jobs since an earlier process of their group asked for that, which died before it ended them."""
        return [(roster, view) for roster, view in self._told()
                if view.ready and self._barred.get(view.ref.id, roster.incarnation) != roster.incarnation]

    # -- what others ask ---------------------------------------------------------------------

    def __iter__(self) -> Iterator[Roster]:
        return iter(self._latest.values())

    def of(self, group: str) -> Sequence[WorkerView]:
        """A group's workers; none if no such group has told of any."""
        roster = self._latest.get(group)
        return () if roster is None else roster.workers

    def find(self, worker_id: str) -> tuple[Roster, WorkerView] | None:
        """A worker as its group told of it."""
        return next(((roster, view) for roster, view in self._told() if view.ref.id == worker_id), None)

    def run_method(self, name: str) -> bool | None:
        """Whether some worker has the method; None while no group has said."""
        if not self._latest:
            return None
        return any(roster.methods is None or name in roster.methods for roster in self)

    def classes(self) -> list[str]:
        """The worker classes, for error messages."""
        return sorted({roster.class_name or "plain functions" for roster in self})

    def _told(self) -> Iterator[tuple[Roster, WorkerView]]:
        return ((roster, view) for roster in self for view in roster.workers)
