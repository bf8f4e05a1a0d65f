"""Each example, run as a user would, prints what it should and leaves nothing behind."""

import re
from pathlib import Path

import pytest

from tests.cluster.scripts import ROOT, run_script

EXPECTED = {
    "local.py": """\
by name: 4
by method: 7
by function: 2432902008176640000
in order: [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]
""",
    "initialized_worker.py": """\
Peru: Lima (lookup 1 of this worker)
Norway: Oslo (lookup 2 of this worker)
Ghana: Accra (lookup 3 of this worker)
the worker ended with exit code 1
Norway: Oslo (lookup 1 of its replacement)
""",
    "job_replies.py": """\
a value: 0.25
a timeout: the job goes on, and can be asked again: 0.75
a failure: ZeroDivisionError: division by zero; its cause is ZeroDivisionError('division by zero')
no reply: none was asked for
awaited: [0.0, 0.25, 0.5, 0.75]
""",
    "durable_queue.py": """\
rye, fresh, after 1 attempt
still there after a stop and a start: wheat
""",
    "poll_queue.py": """\
welcomed: Ada, by letter 3
classified: 99 photos, 89 of them right; waiting because it is hidden: 8
dead: photo 1000, ValueError
revived: 3
""",
    "filter_and_cancel.py": """\
waiting: 6
cancel bob@example.net: cancelled
cancel dee@example.net: cancelled
cancel fay@example.net: cancelled
cancel one again: not_found
waiting: 3
ann: sent to ann@example.org
bob: cancelled
cho: sent to cho@example.org
dee: cancelled
eve: sent to eve@example.org
fay: cancelled
""",
    "opentelemetry_spans.py": """\
a cup of tea
abandoned: no more milk
brew, attempt 1: succeeded
spill, attempt 1: failed exception: RuntimeError: no more milk
spill, attempt 2: failed exception: RuntimeError: no more milk
""",
    "delayed_job.py": """\
hello, now (state of the other: delayed)
delayed: 1
hello, later
waited at least 1.5 s: True
""",
    "exponential_retry.py": """\
result: the shop answered 200
attempts: 4
last error: the shop answered 503
paused at least 1.75 s: True
""",
}


def own_lines(output: str) -> str:
    """What the script itself printed: Ray adds a line of its own when a worker dies."""
    return re.sub(r"^\S*\(raylet\).*\n", "", output, flags=re.MULTILINE)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_example_prints_what_it_should(name: str) -> None:
    finished = run_script(ROOT / "examples" / name)
    assert finished.code == 0, str(finished)
    assert own_lines(finished.output) == EXPECTED[name]


def test_the_progress_of_a_job_is_seen_while_it_runs() -> None:
    finished = run_script(ROOT / "examples" / "progress_and_status.py")
    assert finished.code == 0, str(finished)
    shown = re.findall(r"progress: downloaded (\d)/5 items\n  queue downloads: 1 pending, 1 in progress\n"
                       r"  a worker is busy: downloaded (\d)/5 items\n", finished.output)
    assert shown, str(finished)
    assert all(int(asked_first) <= int(asked_then) for asked_first, asked_then in shown), str(finished)
    assert finished.output.endswith("downloaded: 5\n")


def test_the_digits_are_read() -> None:
    pytest.importorskip("sklearn")
    finished = run_script(ROOT / "examples" / "digits.py")
    assert finished.code == 0, str(finished)
    accuracy = re.fullmatch(r"16 jobs classified 797 images, (\d+\.\d)% of them right\n", finished.output)
    assert accuracy is not None, str(finished)
    assert float(accuracy[1]) > 90


def test_a_node_is_lost_another_joins_and_every_job_ends() -> None:
    finished = run_script(ROOT / "examples" / "global.py")
    assert finished.code == 0, str(finished)
    lost = re.search(r"all 80 jobs are done, those of node east that were lost with it a second time: ([12])\n", finished.output)
    assert lost is not None, str(finished)
    rows = {line.split()[1]: line for line in finished.output.splitlines() if line.startswith("│")}
    assert rows.keys() >= {"north", "east", "south", "west"}, str(finished)
    assert "80 of 80 jobs are done" in finished.output


def test_every_example_is_listed_and_has_a_test() -> None:
    files = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert files == {*EXPECTED, "global.py", "progress_and_status.py", "digits.py"}
    listed = Path(ROOT, "examples", "README.md").read_text()
    assert all(f"[{name}]({name})" in listed for name in files)
