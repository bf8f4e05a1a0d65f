"""The arguments of `Queue.filter`, made into what a store is asked and what is left to ask of each job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from honeydew_ray.arguments import refuse, refuse_type
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores._expressions import is_expression, plain
from honeydew_ray.stores.base import Query

Predicate = Callable[[JobRecord], object]


def query_of(predicate: Any, method: str | None, state: JobState | str | None) -> tuple[Query, Predicate | None]:
    """The query, and the function that each job it finds must satisfy, if one was given. Raises as `Queue.filter` does."""
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
    return Query(state=None if state is None or stale else JobState(state), method=method, stale=stale, where=where), predicate
