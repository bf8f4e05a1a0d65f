"""Ray's wrappers of our classes, made once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from honeydew_ray.actors import wrapping


@pytest.mark.parametrize(("wrapped", "args"), [(wrapping.wrapped, ()), (wrapping.wrapped_with_control, (8,))])
def test_threads_that_ask_at_once_have_one_wrapper(monkeypatch, wrapped, args):
    class Definition:
        """Unlike any that was wrapped before."""

    def remote(*_, **__):
        time.sleep(0.05)  # as long as the real one takes
        return lambda _: object()

    monkeypatch.setattr(wrapping.ray, "remote", remote)
    together = threading.Barrier(4)

    def ask(_):
        together.wait()
        return wrapped(Definition, *args)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(ask, range(4)))) == 1
