"""The demo from beginning to end."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import honeydew_ray as honeydew
from honeydew_ray.actors import cluster
from honeydew_ray.demo.accidents import Accidents
from honeydew_ray.demo.account import Account, by_package, totals
from honeydew_ray.demo.analyst import Analyst, LineCounter
from honeydew_ray.demo.course import Course
from honeydew_ray.demo.library import python_files, standard_library
from honeydew_ray.demo.measures import Measures
from honeydew_ray.demo.screen import Screen

QUEUE = "standard-library"
SECOND_QUEUE = "not-python"

_RESULT_S = 60.0
_ROWS = 12


def run(workers: int | None = None) -> bool:
    """Run the demo on a Ray of its own with ``workers`` workers (default: one per CPU, 2 to 8). Whether every file is accounted for."""
    count = workers or min(max(os.cpu_count() or 1, 2), 8)
    root = standard_library()
    files = python_files(root)
    screen = Screen(len(files))
    screen.say(f"Measuring the {len(files)} files of the standard library in {root} with {count} workers.")
    with tempfile.TemporaryDirectory(prefix="honeydew-demo-") as directory, _own_ray(count):
        accidents = Accidents(Path(directory), kills=files[len(files) // 3], raises=files[2 * len(files) // 3])
        account = _measure(root, files, count, accidents, screen)
    _conclude(account, screen)
    return account.balances and account.accidents == 2


@contextlib.contextmanager
def _own_ray(num_cpus: int) -> Generator[None]:
    """A Ray for the demo alone. What Ray prints by itself - it reports each dead worker - is kept from the screen."""
    with contextlib.redirect_stdout(io.StringIO()):
        cluster.connect("local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield
        finally:
            cluster.disconnect()


def _measure(root: Path, files: Sequence[str], workers: int, accidents: Accidents, screen: Screen) -> Account:
    second = honeydew.start_queue(SECOND_QUEUE)
    second.start_workers(LineCounter, root, num=1, ray_options={"num_cpus": 0})
    queue = honeydew.start_queue(QUEUE, failure_mode=honeydew.Retry(times=1, finally_=honeydew.Move(SECOND_QUEUE)))
    queue.start_workers(Analyst, root, accidents, num=workers)
    queue.wait_for_workers(workers)
    with screen:
        jobs = Course(queue, second, accidents, screen).run(files)
    account = _collect(files, jobs, accidents.happened)
    queue.stop()
    second.stop()
    return account


def _collect(files: Sequence[str], jobs: Mapping[str, honeydew.Job[Measures]], accidents: int) -> Account:
    measured: list[Measures] = []
    failed: dict[str, str] = {}
    for file, job in jobs.items():
        try:
            measured.append(_result(job))
        except honeydew.JobFailed as failure:
            failed[file] = str(failure)
    return Account(files, measured, failed, accidents)


def _result(job: honeydew.Job[Measures]) -> Measures:
    try:
        return job.result(timeout=_RESULT_S)
    except honeydew.JobMoved as moved:
        return honeydew.get_queue(moved.queue).job(job.id).result(timeout=_RESULT_S)


def _conclude(account: Account, screen: Screen) -> None:
    packages = by_package(account.measured)
    screen.show(packages[:_ROWS], totals("all", account.measured), f"The {min(_ROWS, len(packages))} largest of {len(packages)} packages")
    screen.say(f"files found        {len(account.found):>6}")
    screen.say(f"analysed           {account.analysed:>6}   by {account.processes} worker processes")
    screen.say(f"lines counted only {account.counted:>6}   not valid Python: retried once, then moved to the queue {SECOND_QUEUE!r}")
    screen.say(f"accidents          {account.accidents:>6}   a worker killed, a job that raised: both files were retried and analysed")
    screen.say(f"failed             {len(account.failed):>6}")
    screen.say(f"missing            {len(account.missing):>6}")
    for file, why in account.failed.items():
        screen.say(f"  {file}: {why}")
    screen.say("Every file is accounted for." if account.balances else "Some files are NOT accounted for.")
