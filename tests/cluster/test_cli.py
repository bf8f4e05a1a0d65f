"""The command on a real cluster: in this process, and once each as a user's shell and terminal would run it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import honeydew_ray as honeydew
from honeydew_ray import cli, commands
from honeydew_ray.actors import cluster
from tests.cluster.crew import Crew
from tests.cluster.signals import Signal
from tests.sql.databases import database
from tests.sql.tables import Photos

NewQueue = Callable[..., honeydew.Queue]
NewSignal = Callable[[], Signal]
HOSTILE = "<script>\x1b[31m\u202e"


class Clerk:
    """Takes what JSON can carry."""

    def add(self, a: int, b: int) -> int:
        return a + b

    def stumble(self, text: str) -> None:
        raise RuntimeError(text)


class Bomb:
    """Runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


class Shell:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[Any, str]:
        """The exit status, or the line it ended with; and the output."""
        self._monkeypatch.setattr(sys, "argv", ["honeydew", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, self._capsys.readouterr().out

    def json(self, *arguments: object, code: int = 0) -> Any:
        ended, output = self(*arguments, "--json")
        assert ended == code, output
        return json.loads(output)


@pytest.fixture
def honey(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_a_job_from_submit_to_retry(new_queue: NewQueue, honey: Shell) -> None:
    queue = new_queue("cli-jobs")
    new_queue("cli-other")
    queue.start_workers(Clerk, num=1)
    queue.wait_for_workers(1)
    done = honey.json("submit", "cli-jobs", "add", 1, 2, "--id", "sum", "--wait")
    assert (done["state"], done["result"], done["attempts"]) == ("done", "3", 1)
    assert honey.json("show", "sum")[0]["state"] == "done"
    failed = honey.json("submit", "cli-jobs", "stumble", '"over <b>"', "--id", "bad", "--wait", code=1)
    assert failed["state"] == "abandoned" and failed["last_error"]["message"] == "over <b>"
    code, text = honey("show", "bad")
    assert code == 0 and "'over <b>'" in text and "Traceback" in text
    assert honey.json("retry", "bad")["queue"] == "cli-jobs"
    honey.json("suspend", "cli-jobs")
    later = honey.json("submit", "cli-jobs", "add", "--kwargs", '{"a": 1, "b": 2}', "--delay", 3600, "--priority", 7)["id"]
    (shown,) = honey.json("jobs", "cli-jobs", "--state", "delayed")
    assert (shown["id"], shown["arguments"], shown["priority"]) == (later, "a=1, b=2", 7)
    assert honey.json("status", "cli-jobs")["suspended"] is True
    assert honey.json("move", later, "cli-other")["queue"] == "cli-other"
    assert [(entry["queue"], entry["state"]) for entry in honey.json("show", later)] == [("cli-other", "delayed"), ("cli-jobs", "moved")]
    assert honey.json("cancel", later)["outcome"] == "cancelled"
    assert honey.json("cancel", later, code=1)["outcome"] == "not_found"
    honey.json("resume", "cli-jobs")
    listed = {entry["name"]: entry for entry in honey.json("ls")}
    assert listed["cli-jobs"]["suspended"] is False and listed["cli-jobs"]["succeeded"] == 1
    assert {"cli-jobs", "cli-other"} <= listed.keys()


class Scribe:
    """Takes rows."""

    def run(self, key: uuid.UUID) -> int:
        return key.int


def test_a_row_is_reached_by_its_key_as_it_is_shown_and_is_of_no_age(new_queue: NewQueue, honey: Shell, tmp_path: Path) -> None:
    first, second = uuid.UUID(int=1), uuid.UUID(int=2)
    with database("sqlite", tmp_path) as url, Photos(url, "cli-rows", keys=[sa.Column("id", sa.Uuid(), primary_key=True)]) as photos:
        queue = new_queue("cli-rows", store=photos.store(), suspended=True)
        photos.insert(first, second)
        assert [(job["id"], job["enqueued_at"]) for job in honey.json("jobs", "cli-rows")] == [(str(first), None), (str(second), None)]
        assert (queue.job(first).enqueued_at, queue.filter(lambda job: job.enqueued_at is None)) == (None, queue.filter("pending"))
        assert honey.json("cancel", first)["outcome"] == "cancelled"
        assert [(job["id"], job["state"]) for job in honey.json("show", first)] == [(str(first), "cancelled")]
        queue.start_workers(Scribe, num=1)
        queue.resume()
        assert queue.job(second).result(timeout=60) == 2
        (shown,) = honey.json("show", second)
        assert (shown["id"], shown["state"]) == (str(second), "done") and shown["enqueued_at"] <= shown["started_at"]


def test_what_jobs_carry_is_shown_and_never_rebuilt(new_queue: NewQueue, honey: Shell, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    queue = new_queue("cli-bombs", suspended=True)
    queue.options(job_id=HOSTILE).submit("classify", Bomb(mark), {HOSTILE: HOSTILE})
    queue.submit("classify", big := b"x" * 200_000)
    first, second = honey.json("jobs", "cli-bombs")
    assert first["id"] == HOSTILE and first["arguments"].startswith("<pathlib.Path.touch>, {'<script>\\x1b[31m\\u202e': ")
    assert second["arguments"].startswith(f"<{len(big) // 1000}")
    for command in (["jobs", "cli-bombs"], ["show", HOSTILE], ["ls"], ["status", "cli-bombs"]):
        code, text = honey(*command)
        assert code == 0 and "\x1b" not in text and "\u202e" not in text
    assert not mark.exists()


def test_a_queue_that_is_empty_missing_or_does_not_answer(new_queue: NewQueue, honey: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = new_queue("cli-empty")
    assert honey.json("jobs", "cli-empty") == []
    assert honey("jobs", "cli-empty") == (0, "Queue cli-empty holds no job that waits, runs or was abandoned.\n")
    assert "no workers" in honey("status", "cli-empty")[1]
    for command in ("status nope", "jobs nope", "submit nope m", "suspend nope", "resume nope", "stop nope", f"move j {HOSTILE}"):
        line, _ = honey(*command.split())
        assert line.startswith("honeydew: no queue ") and "cli-empty" in line and "\x1b" not in line
    assert honey("show", "nope")[0].startswith("honeydew: no queue knows job nope")
    monkeypatch.setattr(commands, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(commands.glance.statuses, "__defaults__", (0.5,))
    pid = queue.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "did not answer status within 0.5 s" in honey("status", "cli-empty")[0]
        listed = {entry["name"]: entry for entry in honey.json("ls")}
        assert "did not answer within 0.5 s" in listed["cli-empty"]["error"]
        assert "did not answer" in honey("ls")[1]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_queue_with_jobs_in_memory_is_not_stopped_by_mistake(new_queue: NewQueue, honey: Shell) -> None:
    queue = new_queue("cli-stop", suspended=True)
    queue.submit("anything")
    line, _ = honey("stop", "cli-stop")
    assert "keeps its 1 job(s) in memory" in line and "--yes" in line
    assert queue.status().pending == 1
    assert honey.json("stop", "cli-stop", "--yes") == {"name": "cli-stop", "stopped": True}
    assert "cli-stop" not in honeydew.queues()


def test_a_hundred_thousand_jobs_are_listed_in_little_time(new_queue: NewQueue, honey: Shell) -> None:
    queue = new_queue("cli-many", suspended=True)
    queue.options(reply=False).submit_many("m", range(100_000))
    began = time.monotonic()
    assert len(honey.json("jobs", "cli-many")) == 50
    assert honey.json("status", "cli-many")["pending"] == 100_000
    assert "100,000" in honey("ls")[1]
    assert len(honey.json("jobs", "cli-many", "--limit", 2500)) == 2500
    assert time.monotonic() - began < 5, "what shows some jobs must not look at all of them"


def in_a_terminal(*arguments: str, until: bytes, environment: dict[str, str]) -> tuple[int, str]:
    """Run the command in a terminal of its own; Ctrl-C once it has written ``until``. Its exit status, and what it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it
        os.execve(sys.executable, [sys.executable, "-m", "honeydew_ray.cli", *arguments], environment)
    written = b""
    deadline = time.monotonic() + 60
    interrupted = False
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # it has ended
                break
            if not piece:
                break
            written += piece
        if until in written and not interrupted:
            interrupted = True
            os.write(terminal, b"\x03")
    else:
        os.kill(pid, signal.SIGKILL)
    _, ended = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(ended), written.decode(errors="replace")


def test_the_watch_in_a_terminal_is_live_and_ends_with_ctrl_c(new_queue: NewQueue, new_signal: NewSignal) -> None:
    queue = new_queue("cli-watch")
    queue.start_workers(Crew, num=1)
    queue.options(job_id=f"busy-{HOSTILE}").submit("hold", started := new_signal(), release := new_signal())
    started.wait()
    environment = {**os.environ, "RAY_ADDRESS": cluster.address(), "COLUMNS": "100", "LINES": "30", "TERM": "xterm"}
    code, written = in_a_terminal("status", "cli-watch", "--watch", "--interval", "0.1", until=b"u202e", environment=environment)
    release.send()
    assert code == 130, written
    assert "busy-<script>\\x1b[31m\\u202e" in written
    assert "Traceback" not in written


def test_the_command_joins_the_cluster_that_runs(new_queue: NewQueue) -> None:
    new_queue("cli-joined")
    environment = {**os.environ, "RAY_ADDRESS": cluster.address()}
    finished = subprocess.run([sys.executable, "-m", "honeydew_ray.cli", "ls", "--json"], capture_output=True, text=True, timeout=60,
                              env=environment, check=False)
    assert finished.returncode == 0, finished
    assert "cli-joined" in {entry["name"] for entry in json.loads(finished.stdout)}
    assert finished.stderr == ""


def test_a_program_joins_by_its_address_a_cluster_that_asks_for_this_machines_token(ray_cluster: None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    joined = subprocess.run([sys.executable, "-c", "import honeydew_ray; print(honeydew_ray.queues())"], capture_output=True, text=True,
                            timeout=90, env={**environment, "RAY_ADDRESS": cluster.address()})
    assert (joined.returncode, joined.stdout[:1]) == (0, "["), joined.stderr
