"""The contract of success modes, on ours and on one that a user might write."""

from __future__ import annotations

from honeydew_ray.success_modes.base import SuccessMode
from honeydew_ray.success_modes.log import Log
from honeydew_ray.testing import SuccessModeContract


class TestLog(SuccessModeContract):
    def make_mode(self):
        return Log()


class LastResults(SuccessMode):
    """Keeps the latest results."""

    def __init__(self, keep):
        self._keep = keep
        self._results = []

    def __repr__(self):
        return f"LastResults({self._keep})"

    def succeeded(self, job):
        self._results = [*self._results, (job.id, job.value())][-self._keep :]


class TestLastResults(SuccessModeContract):
    def make_mode(self):
        return LastResults(3)
