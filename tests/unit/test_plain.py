"""What somebody else sent, as text: every character shows, and nothing that was sent runs."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from honeydew_ray import inert, plain


class Bomb:
    """Runs a command when it is unpickled, if it is."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


class Liar(str):
    __slots__ = ()

    def __repr__(self) -> str:
        raise AssertionError("a user's __repr__ was called")


def call(*args: Any, **kwargs: Any) -> bytes:
    data: bytes = cloudpickle.dumps((None, args, kwargs), protocol=5)
    return data


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("line\nline\r", "line\\nline\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("naïve 日本 🍯", "naïve 日本 🍯"),
        ("\x00\x9b", "\\x00\\x9b"),
        (17, "17"),
        (None, "None"),
        ({"a": [1, ("b",)]}, "{'a': [1, ('b',)]}"),
    ],
)
def test_every_character_shows(given: object, shown: str) -> None:
    assert plain.printable(given) == shown


def test_long_text_is_cut_and_kept_characters_stay() -> None:
    assert plain.printable("x" * 500, 10) == "xxxxxxxxx…"
    assert plain.printable("x" * 10, 10) == "x" * 10
    assert plain.printable("a\nb\x07", keep="\n") == "a\nb\\x07"


def test_values_are_described_without_calling_what_they_bring() -> None:
    assert plain.describe([Liar("x")]) == "[<tests.unit.test_plain.Liar>]"
    assert plain.describe(10**5000) == "<int of 16,610 bits>"
    endless: list[Any] = []
    endless.append(endless)
    assert plain.describe(endless) == "[[[[…]]]]"
    assert plain.describe(list(range(50))) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …]"
    assert plain.describe(set()) == "set()"


def test_a_calls_arguments_are_shown_and_nothing_in_them_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    data = call("a\x1b", Bomb(mark), np.arange(3), float, top=3, how={"k": Bomb(mark)})
    text = plain.describe_call(data)
    assert text.startswith("'a\\x1b', <posix.system>, <numpy.")
    assert text.endswith(", builtins.float, top=3, how={'k': <posix.system>}")
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists()  # the bomb was a live one


def test_functions_and_classes_sent_by_value_are_only_named() -> None:
    class Local:
        def __init__(self) -> None:
            self.items = {"a": 1}

    text = plain.describe_call(cloudpickle.dumps((lambda x: x, (Local(), Local), {}), protocol=5))
    assert text == "<Local>, Local"


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x80\x05", b"\x80\x05r\xff\xff\xff\xff.", b"(" * 1000, pickle.dumps("not a call")])
def test_what_is_no_call_is_said_to_be_unreadable(data: bytes) -> None:
    assert plain.describe_call(data) == f"<{len(data):,} bytes that cannot be read>"


def test_a_large_pickle_is_measured_and_not_read() -> None:
    data = call("x" * plain.MAX_PICKLE_BYTES)
    assert plain.describe_call(data) == f"<{len(data):,} bytes>"
    assert plain.describe_pickle(b"\x00" * 100_000) == "<100,000 bytes>"
    assert plain.describe_pickle(pickle.dumps({"slept": 0.1})) == "{'slept': 0.1}"


def nested_tuples(depth: int) -> bytes:
    """Steps that leave a tuple of tuples on the stack, whose hash takes 2 ** depth steps."""
    steps = b")\x94" + b"".join(b"h%ch%c\x86\x94" % (level, level) for level in range(depth))
    return b"(" + steps + b"1h%c" % depth


@pytest.mark.parametrize("tail", [b"K\x01u", b"K\x01s", b"\x90", b"\x91", b"K\x01d"])  # as items of dicts and sets
def test_a_pickle_cannot_make_the_reader_hash_for_ever(tail: bytes) -> None:
    opening = {b"K\x01u": b"}(", b"K\x01s": b"}", b"\x90": b"\x8f("}.get(tail, b"(")

    def pickled(depth: int) -> bytes:
        made = nested_tuples(depth)
        return b"\x80\x05" + made[:-2] + opening + made[-2:] + tail + b"."

    assert inert.load(pickled(0)) in ({(): 1}, {()})
    began = time.monotonic()
    assert plain.describe_pickle(pickled(60)).endswith("that cannot be read>")
    assert time.monotonic() - began < 5


def test_extension_codes_and_persistent_ids_lead_nowhere() -> None:
    assert plain.describe_pickle(b"\x80\x02\x82\x01.").endswith("that cannot be read>")
    assert plain.describe_pickle(b"Psomething\n.") == "<StandIn>"
