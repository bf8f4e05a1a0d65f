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

FAST_DETECTION = {"initial_delay_ms": 0, "period_ms": 1000, "timeout_ms": 1000, "failure_threshold": 5}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hammer", description="Kill everything under load, then account for every job.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to hammer")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule and the load; by default the time")
    given = parser.parse_args()
    seed = int(time.time()) % 1_000_000 if given.seed is None else given.seed
    os.environ.update({f"RAY_health_check_{name}": str(value) for name, value in FAST_DETECTION.items()})
    os.environ["HONEYDEW_HAMMER"] = uuid.uuid4().hex
    os.environ.pop("RAY_ADDRESS", None)
    from tests.hammer.run import Run  # now: Ray reads its settings when it is imported

    run = Run(seed, given.seconds)
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
