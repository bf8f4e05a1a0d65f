"""A worker's flight recorder: a small file that outlives the process and tells how it died.

Ray says within milliseconds that a worker is dead, but not why, nor whether it had begun the job
that was sent to it. The worker notes both here as it goes, for about a microsecond a job; whoever
deals with its death reads it, on the worker's node.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import ray._private.worker

_PAGE = 4096
_NOTE = struct.Struct("<BH")  # has a job been begun; length of its token's text
_TOKEN_AT = _NOTE.size
_EXIT = struct.Struct("<Bi")  # has the process been asked to exit; with which status
_EXIT_AT = _PAGE - _EXIT.size
_FATAL = {
    "Segmentation fault": signal.SIGSEGV,
    "Aborted": signal.SIGABRT,
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
    "Floating point exception": signal.SIGFPE,
    "Illegal instruction": signal.SIGILL,
}


@dataclass(frozen=True, slots=True)
class Recording:
    """What was found in a recorder."""

    token: str | None  # of the last job that was begun
    exit_code: int | None  # if the process called os._exit
    crash: str  # the interpreter's last words on a fatal signal

    @property
    def signal(self) -> int | None:
        """The fatal signal that the interpreter saw, if it saw one."""
        return next((number for words, number in _FATAL.items() if f"Fatal Python error: {words}" in self.crash), None)


def path_of(worker_id: str) -> Path:
    """Where a worker on this node keeps its recorder: in Ray's directory for this session."""
    node = ray._private.worker._global_node  # pyright: ignore[reportPrivateUsage]
    if node is None:
        raise RuntimeError("this process is not connected to Ray")
    return Path(node.get_session_dir_path()) / "honeydew" / (worker_id.replace("/", "~") + ".box")


def read(worker_id: str) -> Recording | None:
    """What a dead worker on this node left, which is removed; None if it left nothing."""
    path = path_of(worker_id)
    try:
        content = path.read_bytes()
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return None
    begun, length = _NOTE.unpack_from(content, 0)
    exiting, status = _EXIT.unpack_from(content, _EXIT_AT)
    token = content[_TOKEN_AT : _TOKEN_AT + length].decode(errors="replace") if begun else None
    return Recording(token, status if exiting else None, content[_PAGE:].decode(errors="replace"))


class BlackBox:
    """The recorder of this process. Notes survive any death of the process, SIGKILL included."""

    def __init__(self, worker_id: str) -> None:
        self._path = path_of(worker_id)
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.ftruncate(descriptor, _PAGE)
        self._page = mmap.mmap(descriptor, _PAGE)
        self._descriptor = descriptor  # the crash report is appended behind the page
        self._pid = os.getpid()

    def install(self) -> None:
        """Note the process's own exits and crashes from now on."""
        faulthandler.enable(self._descriptor, all_threads=True)
        os.register_at_fork(after_in_child=faulthandler.disable)
        end_process = os._exit  # pyright: ignore[reportPrivateUsage]

        def note_and_exit(status: int) -> NoReturn:
            if os.getpid() == self._pid:  # a forked child's exit is not ours
                _EXIT.pack_into(self._page, _EXIT_AT, 1, status)
            end_process(status)

        os._exit = note_and_exit

    def begun(self, token: str) -> None:
        """Note that a job is about to run."""
        text = token.encode()[: _EXIT_AT - _TOKEN_AT]
        self._page[0] = 0
        self._page[_TOKEN_AT : _TOKEN_AT + len(text)] = text
        _NOTE.pack_into(self._page, 0, 1, len(text))

    def remove(self) -> None:
        """The process ends in good order: leave nothing behind."""
        faulthandler.disable()
        self._path.unlink(missing_ok=True)
