"""The command ``honeydew``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

_ABSENT = "the command honeydew needs {name}, which is not installed: pip install 'honeydew-ray[cli]'"


def main() -> None:
    """Run the command with the arguments of the process."""
    try:
        build_app()()
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(_ABSENT.format(name=error.name))


def build_app() -> typer.Typer:
    """The command and its subcommands. Raises ``ModuleNotFoundError`` without the extra ``cli``."""
    import typer

    app = typer.Typer(help="Honeydew on Ray: a job queue and worker pool.", no_args_is_help=True, add_completion=False)
    app.callback()(_honeydew)
    app.command()(demo)
    return app


def _honeydew() -> None:
    """Honeydew on Ray: a job queue and worker pool."""


def demo(workers: int = 0) -> None:
    """Measure the Python standard library with a pool of workers, two of which meet with accidents.

    Starts a Ray of its own on this machine and stops it at the end. WORKERS is how many workers
    share the work; 0 means one per CPU.
    """
    if workers < 0:
        sys.exit(f"honeydew demo: --workers was {workers}, expected a whole number, 0 or more; for example --workers 4")
    from honeydew_ray.demo.run import run

    if not run(workers or None):
        sys.exit(1)


if __name__ == "__main__":
    main()
