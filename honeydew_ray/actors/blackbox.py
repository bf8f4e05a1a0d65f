"""A worker's flight recorder: a small file that outlives the process and tells how it died.

Ray says within milliseconds that a worker is dead, but not why, nor whether it had begun the job
that was sent to it; and after ``ray.kill`` it says so a little before the process has stopped. The
worker notes the first two here as it goes, for about a microsecond a job, and holds a lock on the
file that only its death releases. Whoever deals with its death does so on the worker's node.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import glob
import mmap
import os
import signal
import struct
import time
from pathlib import Path
from typing import BinaryIO, NoReturn

import ray._private.worker

from honeydew_ray.postmortem import Recording

_PAGE = 4096
_NOTE = struct.Struct("<iBH")  # the process's id; has a job been begun; length of its token's text
_TOKEN_AT = _NOTE.size
_EXIT = struct.Struct("<Bi")  # has the process been asked to exit; with which status
_EXIT_AT = _PAGE - _EXIT.size
_MERCY_S = 0.2  # how long a process may go on that Ray has declared dead, before it is killed here
_LOOK_AGAIN_S = 0.001


def path_of(worker_id: str) -> Path:
    """Where a worker on this node keeps its recorder: in Ray's directory for this session."""
    node = ray._private.worker._global_node  # pyright: ignore[reportPrivateUsage]
    if node is None:
        raise RuntimeError("this process is not connected to Ray")
    return Path(node.get_session_dir_path()) / "honeydew" / (worker_id.replace("/", "~") + ".box")


def bury(worker_id: str) -> Recording | None:
    """Make sure that a worker on this node, declared dead by Ray, is dead; what it left, which is removed.

    None if it never was, or was buried before. Blocks until the process has ended; one that
    lingers, stopped by SIGSTOP or stuck in the kernel's hands, is sent SIGKILL.
    """
    path = path_of(worker_id)
    try:
        with path.open("r+b") as file:
            _await_end(file)
            content = file.read()
    except FileNotFoundError:
        return None
    path.unlink(missing_ok=True)
    _, begun, length = _NOTE.unpack_from(content, 0)
    exiting, status = _EXIT.unpack_from(content, _EXIT_AT)
    token = content[_TOKEN_AT : _TOKEN_AT + length].decode(errors="replace") if begun else None
    return Recording(token, status if exiting else None, content[_PAGE:].decode(errors="replace"))


def sweep(worker_prefix: str) -> None:
    """Remove what dead workers of a group left on this node, that nobody had a reason to look at."""
    pattern = glob.escape(path_of(worker_prefix).stem) + "*.box"
    for path in path_of(worker_prefix).parent.glob(pattern):
        path.unlink(missing_ok=True)


def _await_end(file: BinaryIO) -> None:
    mercy_ends = time.monotonic() + _MERCY_S
    while not _lock(file):
        lingering = _pid_in(file) if time.monotonic() > mercy_ends else 0  # 0, too, if it was stopped before it had noted its id
        if lingering:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(lingering, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN_S)  # a lock has no signal for "free" that comes with a time limit


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _pid_in(file: BinaryIO) -> int:
    file.seek(0)
    note = file.read(_NOTE.size)
    file.seek(0)
    return int(_NOTE.unpack(note)[0]) if len(note) == _NOTE.size else 0


class BlackBox:
    """The recorder of this process. Notes survive any death of the process, SIGKILL included."""

    def __init__(self, worker_id: str) -> None:
        path = path_of(worker_id)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.ftruncate(descriptor, _PAGE)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)  # of this process alone: children do not inherit it
        self._page = mmap.mmap(descriptor, _PAGE)
        self._descriptor = descriptor  # the crash report is appended behind the page
        self._pid = os.getpid()
        _NOTE.pack_into(self._page, 0, self._pid, 0, 0)

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
        _NOTE.pack_into(self._page, 0, self._pid, 0, 0)
        self._page[_TOKEN_AT : _TOKEN_AT + len(text)] = text
        _NOTE.pack_into(self._page, 0, self._pid, 1, len(text))
