"""Telling a write-ahead log that was damaged from one whose last write was cut short by a crash."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Array = Any  # a numpy array; its own types are not known well enough for a strict checker

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, two salts, two checksums
_MAGICS = {0x377F0682: "<u4", 0x377F0683: ">u4"}  # and how the checksums read the words of a frame
_FRAME_HEADER_BYTES = 24  # page, size of the database if this frame commits, two salts, two checksums
_BYTES_AT_ONCE = 8 * 2**20

HEADER_BYTES = _HEADER.size
"""A log that is shorter holds nothing, and never did: a crash or a full disk cut its very first write short."""


def find_damage(wal: Path) -> str | None:
    """What is wrong with a log, if SQLite would drop commits from it without a word; else None.

    SQLite reads a log up to the first frame that does not match its checksum, and takes the rest for
    a write that a crash cut short. Since each commit is on the disk before the next is begun, such a rest holds one
    commit at most: a second one there was whole once, and what SQLite would drop was committed.
    """
    with wal.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        magic, _, page_bytes, _, salt1, salt2, *checksums = _HEADER.unpack(header)
        if magic not in _MAGICS:
            return "its header is damaged"
        order = _MAGICS[magic]
        words: Array = np.frombuffer(header[:24], order).astype(np.uint32)[None, :]
        if _checksums(words, np.zeros((1, 2), np.uint32))[0].tolist() != checksums:
            return "its header is damaged"
        broken_at, commits, seen = None, 0, 0
        last: Array = np.array([checksums], np.uint32)
        for raw in _chunks(file, page_bytes + _FRAME_HEADER_BYTES):
            fields: Array = raw[:, :_FRAME_HEADER_BYTES].copy().view(">u4").astype(np.uint32)
            ours: Array = (fields[:, 2] == salt1) & (fields[:, 3] == salt2)  # others are left from before the log began anew
            whole: Array = ours & (_frame_checksums(raw, order, np.concatenate([last, fields[:-1, 4:]])) == fields[:, 4:]).all(axis=1)
            if broken_at is None and not whole.all():
                broken_at = seen + int(np.argmin(whole))
            if broken_at is not None:
                commits += int(np.count_nonzero((ours & (fields[:, 1] != 0))[max(broken_at - seen, 0) :]))
            seen, last = seen + len(raw), fields[-1:, 4:]
    return f"frame {broken_at} of it is damaged, and commits follow" if commits > 1 else None


def _chunks(file: Any, frame_bytes: int) -> Iterator[Array]:
    """The frames of the log, some at a time, each a row of bytes; one that is cut off is left out."""
    at_once = max(_BYTES_AT_ONCE // frame_bytes, 1)
    while raw := file.read(frame_bytes * at_once):
        frames = len(raw) // frame_bytes
        if frames:
            flat: Array = np.frombuffer(raw, np.uint8, frames * frame_bytes)
            yield flat.reshape(frames, frame_bytes)


def _frame_checksums(raw: Array, order: str, seeds: Array) -> Array:
    """Of each frame, over the first two fields of its header and its page, from the checksums of the frame before."""
    summed: Array = np.concatenate([raw[:, :8], raw[:, _FRAME_HEADER_BYTES:]], axis=1)
    return _checksums(summed.view(order).astype(np.uint32), seeds)


def _checksums(words: Array, seeds: Array) -> Array:
    """SQLite's checksum of each row of words; all rows in step, because one row's words depend on each other."""
    first, second = seeds[:, 0].copy(), seeds[:, 1].copy()
    for column in range(0, words.shape[1], 2):
        first += words[:, column] + second
        second += words[:, column + 1] + first
    return np.stack([first, second], axis=1)
