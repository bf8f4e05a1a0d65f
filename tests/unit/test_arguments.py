"""Bad arguments are refused with what was given, what was expected and an example."""

from __future__ import annotations

import math
import re

import pytest

from honeydew_ray.arguments import expect_at_least, expect_count, expect_name, expect_seconds, refuse, refuse_type

SHAPE = r"^start: {what} was {given}, expected .+; for example {what}=.+"


def refused(error, what, given):
    return pytest.raises(error, match=SHAPE.format(what=what, given=re.escape(repr(given)) + r"( \(\w+\))?"))


class TestName:
    @pytest.mark.parametrize("name", ["photos", "a", "0", "_x", "A.b-c_9", "x" * 200])
    def test_a_good_name_is_returned(self, name):
        assert expect_name("start", "queue", name) == name

    @pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a/b", "a\n", "a\x00", "ä", "x" * 201, "'; drop table jobs"])
    def test_a_bad_name_is_refused(self, name):
        with refused(ValueError, "queue", name):
            expect_name("start", "queue", name)

    @pytest.mark.parametrize("name", [None, 5, b"photos", ["photos"]])
    def test_what_is_no_string_is_refused(self, name):
        with refused(TypeError, "queue", name):
            expect_name("start", "queue", name)


class TestSeconds:
    @pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, 1e300, 5e-324])
    def test_seconds_are_returned_as_a_float(self, value):
        seconds = expect_seconds("start", "delay_s", value)
        assert seconds == value
        assert type(seconds) is float

    @pytest.mark.parametrize("value", [-1, -5e-324, math.inf, -math.inf, math.nan])
    def test_what_is_negative_or_not_finite_is_refused(self, value):
        with refused(ValueError, "delay_s", value):
            expect_seconds("start", "delay_s", value)

    @pytest.mark.parametrize("value", [None, "5", True, [5], 1j])
    def test_what_is_no_number_is_refused(self, value):
        with refused(TypeError, "delay_s", value):
            expect_seconds("start", "delay_s", value)

    def test_zero_is_refused_where_it_must_be_positive(self):
        assert expect_seconds("start", "delay_s", 5e-324, positive=True) > 0
        with refused(ValueError, "delay_s", 0):
            expect_seconds("start", "delay_s", 0, positive=True)


class TestAtLeast:
    @pytest.mark.parametrize("value", [1, 1.0, 7])
    def test_the_least_and_more_are_returned(self, value):
        assert expect_at_least("start", "base", value, 1) == value

    @pytest.mark.parametrize("value", [0.999, -1, math.nan, math.inf])
    def test_less_is_refused(self, value):
        with refused(ValueError, "base", value):
            expect_at_least("start", "base", value, 1)


class TestCount:
    @pytest.mark.parametrize("value", [0, 1, 10**30])
    def test_a_count_is_returned(self, value):
        assert expect_count("start", "num", value) == value

    def test_the_least_is_the_boundary(self):
        assert expect_count("start", "num", 2, least=2) == 2
        with refused(ValueError, "num", 1):
            expect_count("start", "num", 1, least=2)

    @pytest.mark.parametrize("value", [None, 1.0, "1", True, False])
    def test_what_is_no_whole_number_is_refused(self, value):
        with refused(TypeError, "num", value):
            expect_count("start", "num", value)

    @pytest.mark.parametrize("least", [0, 1, 3, 7])
    def test_the_example_would_be_taken(self, least):
        with pytest.raises(ValueError, match="for example num=") as info:
            expect_count("start", "num", -1, least=least)
        assert expect_count("start", "num", int(str(info.value).rsplit("=", 1)[1]), least=least) >= least


def test_what_was_given_is_shown_in_part_if_it_is_long():
    assert len(str(refuse("start", "name", "x" * 10_000, "a name", "photos"))) < 350
    assert len(str(refuse_type("start", "name", [{"a": "y" * 1000}] * 1000, "a name", "photos"))) < 3000


def test_an_error_says_what_was_given_expected_and_an_example():
    assert str(refuse("Retry", "times", -1, "0 or more", "times=3")) == "Retry: times was -1, expected 0 or more; for example times=3"
    error = refuse_type("Retry", "times", "3", "a number", "times=3")
    assert str(error) == "Retry: times was '3' (str), expected a number; for example times=3"
    assert isinstance(error, TypeError)
