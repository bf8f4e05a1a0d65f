"""Values on their way between a client and a worker."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from honeydew_ray.errors import PayloadError
from honeydew_ray.payload import LARGE_BUFFER_BYTES, Payload, dumps, dumps_whole, loads


class Kept:
    """A large buffer that lives elsewhere, and counts how often it was fetched."""

    def __init__(self, buffer):
        self.bytes = bytes(buffer.raw())
        self.nbytes = len(self.bytes)
        self.fetched = 0

    def fetch(self):
        self.fetched += 1
        return self.bytes


@pytest.mark.parametrize("value", [None, 0, "text", b"bytes", [1, {"a": (2, 3)}], {1, 2}, 1.5, LARGE_BUFFER_BYTES * b"x"])
def test_a_value_arrives_as_it_was_sent(value):
    data, buffers = dumps(value, "the arguments")
    assert loads(data, buffers) == value


def test_a_function_without_a_module_arrives():
    data, _ = dumps(lambda x: x + 1, "the function")
    assert loads(data)(1) == 2


def test_a_function_without_a_module_keeps_the_name_of_its_file_for_tracebacks():
    for data in (dumps(lambda: None, "the function")[0], dumps_whole(lambda: None, "the function")):
        assert loads(data).__code__.co_filename == __file__


def test_a_small_array_travels_in_the_pickle_and_arrives_writable():
    array = np.arange(10)
    data, buffers = dumps(array, "the arguments")
    assert buffers == []
    copy = loads(data)
    copy[0] = 7
    assert array[0] == 0


@pytest.mark.parametrize(("nbytes", "beside"), [(LARGE_BUFFER_BYTES - 1, 0), (LARGE_BUFFER_BYTES, 1), (LARGE_BUFFER_BYTES + 1, 1)])
def test_a_large_array_travels_beside_the_pickle(nbytes, beside):
    array = np.arange(nbytes, dtype=np.uint8)
    data, buffers = dumps(array, "the arguments")
    assert len(buffers) == beside
    assert (len(data) < 1000) is bool(beside)
    assert np.array_equal(loads(data, buffers), array)


def test_large_and_small_arrays_arrive_in_order():
    arrays = [np.full(size, number) for number, size in enumerate([5, 50_000, 6, 60_000, 70_000])]
    data, buffers = dumps({"args": arrays}, "the arguments")
    assert [buffer.raw().nbytes for buffer in buffers] == [array.nbytes for array in arrays if array.nbytes >= LARGE_BUFFER_BYTES]
    for sent, arrived in zip(arrays, loads(data, buffers)["args"], strict=True):
        assert np.array_equal(sent, arrived)


@pytest.mark.parametrize("array", [np.arange(200_000)[::2], np.arange(200_000).reshape(400, 500).T], ids=["strided", "transposed"])
def test_an_array_that_is_not_contiguous_arrives(array):
    data, buffers = dumps(array, "the arguments")
    assert np.array_equal(loads(data, buffers), array)


@pytest.mark.parametrize("make", [threading.Lock, lambda: (n for n in range(3))], ids=["lock", "generator"])
def test_what_cannot_be_pickled_is_refused_by_name(make):
    with pytest.raises(PayloadError, match="the arguments of 'classify' cannot be pickled: TypeError: ") as info:
        dumps([make()], "the arguments of 'classify'")
    assert isinstance(info.value.__cause__, TypeError)


def test_an_error_of_the_values_own_pickling_is_refused_by_name():
    class Stubborn:
        def __reduce__(self):
            raise ZeroDivisionError("no")

    with pytest.raises(PayloadError, match="the result cannot be pickled: ZeroDivisionError: no"):
        dumps(Stubborn(), "the result")


class TestPayload:
    def test_it_loads_its_value_with_the_buffers_that_live_elsewhere(self):
        array = np.arange(100_000)
        data, buffers = dumps((array, "text"), "the arguments")
        payload = Payload(data, tuple(Kept(buffer) for buffer in buffers))
        loaded, text = payload.load()
        assert np.array_equal(loaded, array)
        assert text == "text"
        assert payload.nbytes == len(data) + array.nbytes

    def test_nothing_is_fetched_before_it_is_loaded(self):
        _, buffers = dumps(np.arange(100_000), "the arguments")
        kept = Kept(buffers[0])
        payload = pickle.loads(pickle.dumps(Payload(b"not a pickle", (kept,))))
        assert payload.nbytes == len(b"not a pickle") + kept.nbytes
        assert payload.buffers[0].fetched == 0

    def test_a_payload_that_is_no_pickle_fails_only_where_it_is_loaded(self):
        payload = Payload(b"not a pickle")
        assert payload == Payload(b"not a pickle", ())
        with pytest.raises(pickle.UnpicklingError):
            payload.load()
