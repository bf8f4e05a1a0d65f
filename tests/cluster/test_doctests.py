"""The examples in the docstrings of the handles, on a queue of photos."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable

import honeydew_ray as honeydew


class Classifier:
    def classify(self, photo: str | None) -> str:
        if photo is None:
            raise ValueError("no photo")
        return "a cat" if photo == "img1.png" else "a dog"


def test_the_examples_of_the_handles_are_true(new_queue: Callable[..., honeydew.Queue]) -> None:
    photos = new_queue("photos")
    photos.start_workers(Classifier, num=1)
    photos.wait_for_workers(1)
    known = {"photos": photos, "Classifier": Classifier, "honeydew": honeydew}
    for name, least in (("queue", 6), ("submitter", 3), ("job_handle", 4), ("worker_groups", 2)):
        module = importlib.import_module(f"honeydew_ray.{name}")
        result = doctest.testmod(module, extraglobs=known, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
        assert result.failed == 0
        assert result.attempted >= least
        for left in photos.filter():
            left.cancel()
