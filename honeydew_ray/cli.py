"""The command ``honeydew``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

_ABSENT = "the command honeydew needs {name}, which is not installed: pip install 'honeydew-ray[cli]'"


def main() -> None:
    """Run the command with the arguments of the process; an error is one line on standard error, and exit status 1."""
    try:
        app = build_app()
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(_ABSENT.format(name=error.name))
    try:
        app(prog_name="honeydew")
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(explain(error))


def explain(error: Exception) -> str:
    """The line for an error that a person may meet with; raises any other."""
    from honeydew_ray.actors.cluster import ClusterNotFound
    from honeydew_ray.errors import HoneydewError
    from honeydew_ray.plain import printable

    if not isinstance(error, (HoneydewError, TimeoutError, ValueError)):
        raise error
    hint = ""
    if isinstance(error, ClusterNotFound):
        hint = ("\nStart one with: ray start --head; or say where one runs: honeydew --address HOST:PORT ..., or RAY_ADDRESS."
                "\nTo see Honeydew at work on a Ray of its own: honeydew demo")
    return f"honeydew: {printable(str(error), 4000, keep=chr(10))}{hint}"


def build_app() -> typer.Typer:
    """The command and its subcommands. Raises ``ModuleNotFoundError`` without the extra ``cli``."""
    import typer

    from honeydew_ray import commands, joining

    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(joining.connect)
    for command in (*commands.COMMANDS, demo):
        app.command()(command)
    return app


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
