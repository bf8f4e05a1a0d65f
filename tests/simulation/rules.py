"""What the rules about one part of the design have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from honeydew_ray.job import JobId, Token
from tests.simulation.ledger import Ledger


class Known(Protocol):
    """What rules may ask of whoever keeps them together, and tell it."""

    cases: Counter[str]
    ledgers: dict[str, Ledger]
    running: dict[Token, tuple[str, str]]

    def complain(self, text: str) -> None: ...

    def entered(self, queue: str, job: JobId) -> bool: ...


class Rules:
    """Hears of every event, by a method for each kind."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.hearers: dict[str, Callable[..., None]] = {}

    def hear(self, kind: str, facts: dict[str, Any]) -> None:
        hearer = self.hearers.get(kind)
        if hearer is not None:
            hearer(**facts)


def process_of(token: Token) -> str:
    """The incarnation of the queue that issued an attempt, without the number of the claim."""
    return token.incarnation.rpartition(".")[0]
