"""Run many seeds, or one again: ``python -m tests.simulation --seeds 1000``, ``python -m tests.simulation --seed 7 --history``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=200, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="where to begin")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--stop", action="store_true", help="stop at the first that breaks a promise")
    parser.add_argument("--history", action="store_true", help="print what happened")
    parser.add_argument("--job", help="of the history, print only what concerns this job")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
    began, broken, kinds = time.monotonic(), 0, Counter[str]()
    for seed in seeds:
        outcome = run(seed)
        kinds.update(event.kind if event.kind != "fault" else f"fault: {dict(event.facts)['what']}" for event in outcome.history.events)
        if options.history:
            print(*(outcome.history.events if options.job is None else outcome.history.about(options.job)), sep="\n")
        if outcome.complaints:
            broken += 1
            print(outcome, flush=True)
            if options.stop:
                break
    took = time.monotonic() - began
    print(*(f"{count:9,}  {kind}" for kind, count in sorted(kinds.items())), sep="\n")
    print(f"{len(seeds)} seeds in {took:.1f} s, {1000 * took / len(seeds):.0f} ms each: {broken} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
