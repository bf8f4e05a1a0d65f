"""The command's own words: help, errors, exit statuses. What it does with queues is tested on a cluster."""

from __future__ import annotations

import datetime
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal

import pytest

from honeydew_ray import cli, commands, job_search, joining
from honeydew_ray.actors import cluster
from honeydew_ray.errors import QueueNotFound


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the command; its exit status, or the line it ended with."""
    monkeypatch.setattr(sys, "argv", ["honeydew", *arguments])
    monkeypatch.setattr(joining, "_address", None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.fixture(autouse=True)
def not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cluster tests of the same run keep this process connected."""
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_the_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    for name in ("ls", "status", "jobs", "show", "submit", "cancel", "move", "retry", "suspend", "resume", "stop", "demo"):
        assert f"\n  {name} " in text


COMMANDS = [["ls"], ["status", "q"], ["jobs", "q"], ["show", "j"], ["submit", "q", "m"], ["cancel", "j"], ["move", "j", "q"],
            ["retry", "j"], ["suspend", "q"], ["resume", "q"], ["stop", "q"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_command_starts_a_ray_where_none_runs(monkeypatch: pytest.MonkeyPatch, closed_port: str, command: list[str]) -> None:
    line = run(monkeypatch, "--address", closed_port, *command)
    assert isinstance(line, str) and line.startswith(f"honeydew: no Ray cluster answers at {closed_port}: ")
    assert "ray start --head" in line and "honeydew demo" in line


def test_an_address_that_means_a_new_ray_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert "which means a new Ray" in str(run(monkeypatch, "ls"))


def test_no_cluster_on_this_machine_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(address: str) -> str:
        assert address == "auto"
        raise ConnectionError("Could not find any running Ray instance.\nMore.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", find)
    line = str(run(monkeypatch, "ls"))
    assert line.startswith("honeydew: no Ray cluster was found on this machine: Could not find any running Ray instance.\nStart one with")


def test_a_cluster_that_is_there_and_cannot_be_joined_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with Ray 2.0")

    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        monkeypatch.setattr(cluster.ray, "init", init)
        monkeypatch.setattr(cluster, "maybe_enable_token_auth_if_token_available", lambda warn_if_disabled: False)
        line = str(run(monkeypatch, "--address", f"127.0.0.1:{somebody.getsockname()[1]}", "ls"))
    assert "could not be joined: Version mismatch" in line and "Traceback" not in line


def test_a_cluster_that_lets_nobody_in_is_given_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gone = threading.Event()
    monkeypatch.setattr(joining, "_JOIN_S", 0.01)
    monkeypatch.setattr(joining.os, "_exit", lambda _: gone.set())
    monkeypatch.setattr(joining.cluster, "join", lambda _: gone.wait(10))
    joining.join()
    assert gone.is_set()
    assert "did not let this process in within 0.01 s" in capsys.readouterr().err


MISUSE = [["nope"], ["status"], ["jobs", "q", "--state", "lost"], ["status", "q", "--interval", "0"], ["jobs", "q", "--limit", "-1"]]


@pytest.mark.parametrize("arguments", MISUSE)
def test_misused_options_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert "Usage: honeydew" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["img.png", "NaN", "-Infinity", "{", "os.system('ls')", "[" * 100_000])
def test_an_argument_that_is_no_json_is_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    monkeypatch.setattr(joining.cluster, "join", lambda _: pytest.fail("it was to join a cluster"))
    line = str(run(monkeypatch, "submit", "q", "m", "--", argument))
    assert line.startswith("honeydew: argument 1 was ") and "expected JSON" in line and len(line) < 1000


def test_keyword_arguments_are_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "expected a JSON object" in str(run(monkeypatch, "submit", "q", "m", "--kwargs", "[1]"))


KEY = uuid.UUID(int=7)
MEANINGS: list[tuple[str, list[object]]] = [
    ("abc", ["abc"]), ("true", ["true"]), ("17", ["17", Decimal(17), 17]), ("1.50", ["1.50", Decimal("1.5")]),
    (str(KEY), [str(KEY), KEY]), ("2026-01-02", ["2026-01-02", datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2)]),
    ("2026-01-02T03:04:05+00:00", ["2026-01-02T03:04:05+00:00", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)]),
    ("NaN", ["NaN"]), ("sNaN", ["sNaN"]), ("2026-13-01", ["2026-13-01"]),
    ('[1, "a"]', ['[1, "a"]', (1, "a")]), (f'[1, "{KEY}"]', [f'[1, "{KEY}"]', (1, str(KEY)), (1, KEY)]),
]


@pytest.mark.parametrize(("text", "ids"), MEANINGS)
def test_an_id_may_be_the_key_of_a_row(text: str, ids: list[object]) -> None:
    assert job_search.ids_of(text) == ids


def test_an_error_is_one_line_without_control_characters() -> None:
    assert cli.explain(QueueNotFound("no queue \x1b[31m")) == "honeydew: no queue \\x1b[31m"
    with pytest.raises(ZeroDivisionError):
        cli.explain(ZeroDivisionError("a mistake of ours"))


def test_ctrl_c_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(joining.cluster, "join", interrupt)
    assert run(monkeypatch, "ls") == 130


def test_the_watch_looks_again_and_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from honeydew_ray.status import QueueStatus

    looks = iter([QueueStatus("q", 2, 0, 0, 0, False, "MemoryStore"), QueueStatus("q", 1, 0, 0, 0, False, "MemoryStore", succeeded=1)])

    class Client:
        def call(self, method: str, timeout_s: float) -> QueueStatus:
            try:
                return next(looks)
            except StopIteration:
                raise KeyboardInterrupt from None

    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(commands, "_client", lambda _: Client())
    assert run(monkeypatch, "status", "q", "--watch", "--json") == 130
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition('"pending": ')[2][0] for line in lines] == ["2", "1"]
