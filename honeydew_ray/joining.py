"""The cluster that the command ``honeydew`` looks at."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from honeydew_ray import plain
from honeydew_ray.actors import cluster

_JOIN_S = 20.0

_address: str | None = None  # of the process: the options before a subcommand are read before those after it


def connect(
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="The Ray cluster; RAY_ADDRESS or this machine's without it.")] = "",
) -> None:
    """Honeydew on Ray: look at the queues of a cluster, and tell them what to do."""
    global _address
    _address = address or None


def join() -> None:
    """Connect, or end the process: Ray does not return for minutes from where somebody listens who is no Ray, or wants another token."""
    watchdog = threading.Timer(_JOIN_S, _give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        cluster.join(_address)
    finally:
        watchdog.cancel()


def _give_up() -> None:
    where = _address or os.environ.get("RAY_ADDRESS") or "this machine"
    print(f"honeydew: the Ray cluster at {plain.printable(where)} did not let this process in within {_JOIN_S:g} s; "
          "if it was started with a token, this needs the same: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token",
          file=sys.stderr, flush=True)
    os._exit(1)
