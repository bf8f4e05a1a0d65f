"""What the caller of `submit` means."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

from honeydew_ray.task import Task, task_of


class Classifier:
    class Nested:
        def inner(self) -> None: ...

    def classify(self, photo: object) -> None: ...

    @staticmethod
    def static(photo: object) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    def __call__(self) -> None: ...


def function() -> None: ...


def test_a_text_names_a_method() -> None:
    assert task_of("classify") == Task("classify")


@pytest.mark.parametrize(("given", "name"), [(Classifier.classify, "classify"), (Classifier.Nested.inner, "inner")])
def test_a_method_of_a_class_is_called_by_its_name(given: Any, name: str) -> None:
    assert task_of(given) == Task(name)


def test_a_method_of_a_class_in_a_function_is_one_too() -> None:
    class Local:
        def work(self) -> None: ...

    assert task_of(Local.work) == Task("work")


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (math.sqrt, "math.sqrt"),
        (len, "len"),
        (function, f"{__name__}.function"),
        (Classifier.static, f"{__name__}.Classifier.static"),
        (Classifier.of_class, f"{__name__}.Classifier.of_class"),
        (Classifier, f"{__name__}.Classifier"),
        (functools.partial(math.sqrt, 2), "functools.partial"),
        (np.sqrt, "numpy.sqrt"),
    ],
)
def test_anything_else_that_can_be_called_is_called_as_it_is(given: Any, label: str) -> None:
    task = task_of(given)
    assert task.function is given
    assert task.name.rpartition(".")[2] == label.rpartition(".")[2]
    if given not in (np.sqrt,):
        assert task.name == label or task.name == "partial"


def test_a_lambda_and_a_local_function_are_functions() -> None:
    def local() -> None: ...

    doubled = lambda x: 2 * x  # noqa: E731
    assert task_of(local).function is local
    assert task_of(doubled).function is doubled


def test_a_bound_method_carries_its_object() -> None:
    bound = Classifier().classify
    assert task_of(bound) == Task(f"{__name__}.Classifier.classify", bound)


def test_an_object_that_can_be_called_goes_by_its_class() -> None:
    callable_object = Classifier()
    task = task_of(callable_object)
    assert task.function is callable_object
    assert task.name.endswith("Classifier")


@pytest.mark.parametrize("given", [None, 3, b"classify", ["classify"], object()])
def test_what_cannot_be_called_is_refused_with_an_example(given: Any) -> None:
    with pytest.raises(TypeError, match=r"submit\(\"classify\", photo\)"):
        task_of(given)
