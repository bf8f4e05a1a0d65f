"""Shows that the tests can fail: plants each seeded bug in a copy, and lets the simulation look for it.

``python -m tests.seeded_bugs [--seeds 200] [--only WORDS]``; the exit status is 1 if one is not caught.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.seeded_bugs.bugs import BUGS, Bug

ROOT = Path(__file__).parents[2]
_LIMIT_S = 300


def hunt(bug: Bug, seeds: int) -> str | None:
    """The first line that tells of the bug; None if no seed does."""
    with tempfile.TemporaryDirectory(prefix="honeydew-seeded-bug-") as folder:
        copy = Path(folder)
        for part in ("honeydew_ray", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        bug.plant(copy)
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--stop"]
        try:
            done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            print(f"        the simulation did not end within {_LIMIT_S} s", flush=True)
            return None
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines()
    seed = next((line.partition(" (")[0] for line in lines if line.startswith("seed ")), "seed ?")
    at = next((index for index, line in enumerate(lines) if line.startswith("seed ")), None)
    told = lines[at + 1] if at is not None and at + 1 < len(lines) else done.stderr.strip().splitlines()[-1]
    return f"{seed}: {told[:150]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.seeded_bugs")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--only", default="", help="only those with these words in their name")
    options = parser.parse_args()
    missed = 0
    for bug in [bug for bug in BUGS if options.only in bug.name]:
        began = time.monotonic()
        caught = hunt(bug, options.seeds)
        missed += caught is None
        print(f"{'MISSED' if caught is None else 'caught'} ({time.monotonic() - began:.0f} s)  {bug.name}", flush=True)
        print(f"        {caught or f'by none of {options.seeds} seeds'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
