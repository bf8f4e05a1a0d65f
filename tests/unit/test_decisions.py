"""Decisions are values, checked where they are made."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError

import pytest

from honeydew_ray.decisions import Discard, MoveTo, Requeue


@pytest.mark.parametrize("decision", [Discard(), Requeue(), Requeue(2.5, {"n": 1}), MoveTo("dead_letters")], ids=repr)
def test_a_decision_is_a_value(decision):
    assert pickle.loads(pickle.dumps(decision)) == decision
    assert eval(repr(decision)) == decision
    with pytest.raises((FrozenInstanceError, TypeError)):
        decision.delay_s = 1


def test_requeue_is_immediate_and_without_a_note_unless_told_otherwise():
    assert (Requeue().delay_s, Requeue().private) == (0.0, None)


@pytest.mark.parametrize(("delay_s", "error"), [(-0.001, ValueError), (math.nan, ValueError), (math.inf, ValueError), ("1", TypeError)])
def test_requeue_refuses_a_bad_delay(delay_s, error):
    with pytest.raises(error, match=r"Requeue: delay_s was .*, expected a number of seconds, 0 or more; for example delay_s=5"):
        Requeue(delay_s)


@pytest.mark.parametrize(("queue", "error"), [("", ValueError), ("a b", ValueError), (None, TypeError)])
def test_move_to_refuses_a_bad_name(queue, error):
    with pytest.raises(error, match=r"MoveTo: queue was .*; for example queue="):
        MoveTo(queue)
