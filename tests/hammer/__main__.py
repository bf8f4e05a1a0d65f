"""Real kills under real load: ``python -m tests.hammer --seconds 60 --seed 1``, or ``make hammer SECONDS=60 SEED=1``.

The seed gives the schedule of faults and what the drivers ask for; how these fall together is up to the machine. A run that
fails keeps its folder - schedule, history, Ray's logs - and says where it is; one that passes leaves nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid

from tests.hammer.schedule import KINDS

FAST_DETECTION = {"initial_delay_ms": 0, "period_ms": 1000, "timeout_ms": 1000, "failure_threshold": 5}
START_TIMEOUT_S = 20
"""Ray waits a minute for a process that died as it began, and starts no other meanwhile; those of a raylet that was stopped do."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hammer", description="Kill everything under load, then account for every job.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to hammer")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule and the load; by default the time")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of faults, with commas between; by default all: %(default)s")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds in which all must be done after the last fault")
    given = parser.parse_args()
    kinds = given.kinds.split(",")
    if unknown := sorted(set(kinds) - set(KINDS)):
        parser.error(f"--kinds: {', '.join(unknown)} is no kind of fault; expected some of {', '.join(KINDS)}")
    seed = int(time.time()) % 1_000_000 if given.seed is None else given.seed
    os.environ.update({f"RAY_health_check_{name}": str(value) for name, value in FAST_DETECTION.items()})
    os.environ.update(RAY_worker_register_timeout_seconds=str(START_TIMEOUT_S))
    os.environ["HONEYDEW_HAMMER"] = uuid.uuid4().hex
    os.environ.pop("RAY_ADDRESS", None)
    from tests.hammer.run import Run  # now: Ray reads its settings when it is imported

    run = Run(seed, given.seconds, kinds=kinds, patience_s=given.patience)
    print(f"seed {seed}, {given.seconds:g} s, {len(run.schedule)} events", flush=True)
    account = run.go()
    print(account)
    if account.violations:
        print(f"FAILED: seed {seed}; schedule, history and logs are in {run.folder}")
        return 1
    print(f"passed: seed {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
