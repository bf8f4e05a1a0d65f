"""Run many seeds, or one again: ``python -m tests.simulation --seeds 1000``, ``python -m tests.simulation --seed 7 --history``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.run import run
from tests.simulation.scenario import CASES, FAULTS

_ENOUGH = 200
"""In so many runs each fault and each case must come up, or what they passed says little."""


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
    began, broken, ran = time.monotonic(), 0, 0
    kinds, happened, runs_with = Counter[str](), Counter[str](), Counter[str]()
    for seed in seeds:
        outcome = run(seed)
        ran += 1
        kinds.update(event.kind for event in outcome.history.events if event.kind not in ("fault", "case"))
        happened.update(outcome.happened())
        runs_with.update(dict.fromkeys(outcome.happened(), 1))
        if options.history:
            print(*(outcome.history.events if options.job is None else outcome.history.about(options.job)), sep="\n")
        if ran % 500 == 0:
            print(f"{ran} seeds in {time.monotonic() - began:.0f} s, {time.process_time():.0f} s of a processor: {broken} broke a promise",
                  flush=True)
        if outcome.complaints:
            broken += 1
            print(outcome, flush=True)
            if options.stop:
                break
    took = time.monotonic() - began
    print("events, by kind", *(f"{count:9,}  {kind}" for kind, count in sorted(kinds.items())), sep="\n")
    print("faults and cases, with the share of runs in which each came about")
    print(*(f"{happened[what]:9,}  {runs_with[what] / ran:4.0%}  {what}" for what in sorted({*happened, *FAULTS, *CASES})), sep="\n")
    absent = [what for what in (*FAULTS, *CASES) if not happened[what]] if ran >= _ENOUGH else []
    if absent:
        print(f"in {ran} runs these never came about: {', '.join(absent)}")
    print(f"{ran} seeds in {took:.1f} s, {1000 * took / ran:.0f} ms each: {broken} broke a promise")
    return 1 if broken or absent else 0


if __name__ == "__main__":
    sys.exit(main())
