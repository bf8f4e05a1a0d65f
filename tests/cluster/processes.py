"""Looking at processes from outside."""

from __future__ import annotations

from pathlib import Path

_EXITING = 0x4  # PF_EXITING of the kernel; see proc(5), field "flags" of /proc/PID/stat


def runs(pid: int | None) -> bool:
    """Whether a process can still run code of its own: not once the kernel has begun to end it."""
    try:
        state, _, _, _, _, _, flags, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and not int(flags) & _EXITING
