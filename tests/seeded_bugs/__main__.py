"""Shows that the tests can fail: plants each seeded bug in a copy, and lets the simulation, or the hammer, look for it.

``python -m tests.seeded_bugs [--seeds 200] [--only WORDS]`` for the simulation, ``--hammer SECONDS`` for real kills that long;
the exit status is 1 if a bug is not caught.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.seeded_bugs.bugs import BUGS, HAMMERED, Bug, Hammered

ROOT = Path(__file__).parents[2]
_LIMIT_S = 900  # of a busy machine
_PATIENCE_S = 10
_SEED = 1


def simulated(bug: Bug, seeds: int) -> str | None:
    """The first line of the simulation that tells of the bug; None if no seed does."""
    done = _run(bug, ["tests.simulation", "--seeds", str(seeds), "--stop"])
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines()
    seed = next((line.partition(" (")[0] for line in lines if line.startswith("seed ")), "seed ?")
    at = next((index for index, line in enumerate(lines) if line.startswith("seed ")), None)
    absent = next((line for line in lines if "never came about" in line), None)
    told = lines[at + 1] if at is not None and at + 1 < len(lines) else absent or done.stderr.strip().splitlines()[-1]
    return f"{seed}: {told[:150]}"


def hammered(hammered: Hammered, seconds: float) -> str | None:
    """What the checker says of the rule that the bug breaks, and how often; None if it finds that rule kept."""
    done = _run(hammered.bug, ["tests.hammer", "--seconds", str(seconds), "--seed", str(_SEED), "--kinds", ",".join(hammered.kinds),
                               "--patience", str(_PATIENCE_S)])
    kept = re.search(r"schedule, history and logs are in (\S+)", done.stdout)
    if kept is not None:
        shutil.rmtree(kept[1], ignore_errors=True)
    told = [line.strip() for line in done.stdout.splitlines() if line.startswith(f"  {hammered.rule}: ")]
    return f"{len(told)} times, such as {told[0][:150]}" if told else None


def _run(bug: Bug, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a module in a copy that has the bug."""
    with tempfile.TemporaryDirectory(prefix="honeydew-seeded-bug-") as folder:
        copy = Path(folder)
        for part in ("honeydew_ray", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        bug.plant(copy)
        command = [sys.executable, "-m", *arguments]
        environment = {**os.environ, "PYTHONPATH": folder}
        try:
            return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            print(f"        it did not end within {_LIMIT_S} s", flush=True)
            return subprocess.CompletedProcess(command, 0, "", "")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.seeded_bugs")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--hammer", type=float, default=None, metavar="SECONDS", help="let the hammer look, so long for each")
    parser.add_argument("--only", default="", help="only those with these words in their name")
    options = parser.parse_args()
    missed = 0
    for planted in [planted for planted in (BUGS if options.hammer is None else HAMMERED) if options.only in planted.name]:
        began = time.monotonic()
        caught = simulated(planted, options.seeds) if isinstance(planted, Bug) else hammered(planted, options.hammer)
        missed += caught is None
        print(f"{'MISSED' if caught is None else 'caught'} ({time.monotonic() - began:.0f} s)  {planted.name}", flush=True)
        print(f"        {caught or f'by none of {options.seeds} seeds'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
