"""Failures as text, whatever the exception is like."""

from __future__ import annotations

import pickle

import pytest

from honeydew_ray.errors import (
    EnqueueUncertain,
    HoneydewError,
    JobAbandoned,
    JobFailed,
    JobMoved,
    QueueLost,
)
from honeydew_ray.failure import Failure, exception_message, exception_text, exit_status, type_name


class Mute(Exception):
    """Cannot be shown at all."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Rude(Exception):
    """Ends the process of whoever shows it."""

    def __str__(self):
        raise SystemExit(3)


def caught(error):
    """The error with a traceback, as if a job had raised it."""
    try:
        raise error
    except BaseException as raised:
        return raised


class TestFromException:
    def test_an_exception_is_kept_as_text(self):
        failure = Failure.from_exception(caught(ValueError("bad photo")), b"pickled")
        assert (failure.kind, failure.class_name, failure.message) == ("exception", "ValueError", "bad photo")
        assert failure.traceback.startswith("Traceback (most recent call last)")
        assert "raise error" in failure.traceback
        assert failure.traceback.rstrip().endswith("ValueError: bad photo")
        assert (failure.exit_code, failure.signal, failure.exception) == (None, None, b"pickled")

    def test_a_class_of_another_module_is_named_in_full(self):
        assert Failure.from_exception(Mute()).class_name.endswith("test_failure.Mute")
        assert Failure.from_exception(pickle.PicklingError("x")).class_name == "_pickle.PicklingError"

    @pytest.mark.parametrize(
        ("code", "status"), [(None, 0), (0, 0), (1, 1), (3, 3), (-1, -1), (True, 1), ("out of disk", 1), ([1], 1), (2.5, 1)]
    )
    def test_system_exit_is_an_exit_with_a_status(self, code, status):
        failure = Failure.from_exception(caught(SystemExit(code)))
        assert (failure.kind, failure.class_name, failure.exit_code) == ("exit", "SystemExit", status)
        assert failure.message == f"the job raised SystemExit({code!r})"
        assert exit_status(code) == status

    def test_a_subclass_of_system_exit_is_an_exit(self):
        class Bye(SystemExit):
            pass

        assert Failure.from_exception(Bye(4)).exit_code == 4
        assert Failure.from_exception(Bye(4)).kind == "exit"

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), BaseException("bare")])
    def test_other_base_exceptions_are_exceptions(self, error):
        assert Failure.from_exception(caught(error)).kind == "exception"

    @pytest.mark.parametrize(("error", "fault"), [(Mute(), "RuntimeError"), (Rude(), "SystemExit")])
    def test_an_exception_that_cannot_be_shown_is_shown_all_the_same(self, error, fault):
        failure = Failure.from_exception(caught(error))
        assert failure.kind == "exception"
        assert type(error).__name__ in failure.message
        assert f"its __str__ raised {fault}" in failure.message
        assert type(error).__name__ in failure.traceback
        assert "raise error" in failure.traceback

    def test_a_cause_is_part_of_the_traceback(self):
        def chained():
            try:
                {}["key"]
            except KeyError as error:
                raise ValueError("outer") from error

        with pytest.raises(ValueError) as info:
            chained()
        text = Failure.from_exception(info.value).traceback
        assert "KeyError: 'key'" in text
        assert "direct cause" in text


class TestFailure:
    def test_it_reads_as_kind_class_and_message(self):
        assert str(Failure("timeout", "TimeoutError", "ran 60 s")) == "timeout: TimeoutError: ran 60 s"

    def test_it_can_say_where_it_happened(self):
        failure = Failure("exception", "ValueError", "x").of_attempt(3, "node 7")
        assert (failure.attempt, failure.node, failure.message) == (3, "node 7", "x")

    def test_it_shows_the_error_that_followed(self):
        first = Failure.from_exception(caught(ValueError("first")), b"pickled")
        both = first.followed_by(caught(KeyError("second")), "asking the failure mode")
        assert (both.kind, both.class_name, both.exception) == ("exception", "ValueError", b"pickled")
        assert both.message == "first (while asking the failure mode: KeyError: 'second')"
        assert "ValueError: first" in both.traceback
        assert "While asking the failure mode, another error arose:" in both.traceback
        assert both.traceback.rstrip().endswith("KeyError: 'second'")

    def test_it_shows_an_error_that_cannot_be_shown(self):
        both = Failure("exit", "SystemExit", "1").followed_by(caught(Mute()), "deciding")
        assert "cannot be shown" in both.message

    def test_it_is_sent_as_it_is(self):
        failure = Failure.from_exception(caught(ValueError("x")), b"pickled").of_attempt(2, "node")
        assert pickle.loads(pickle.dumps(failure)) == failure

    def test_texts_of_exceptions(self):
        assert exception_text(ValueError("x")) == "ValueError: x"
        assert exception_message(ValueError()) == ""
        assert type_name(dict) == "dict"
        assert type_name(Failure) == "honeydew_ray.failure.Failure"


class TestJobFailed:
    FAILURE = Failure("signal", "WorkerDied", "killed", "trace", signal=9, attempt=2, node="node", exit_code=None)

    @pytest.mark.parametrize("cls", [JobFailed, JobAbandoned, JobMoved])
    def test_it_tells_what_the_failure_tells_and_survives_pickling(self, cls):
        error = pickle.loads(pickle.dumps(cls("job 1", "photos", self.FAILURE, 3)))
        assert type(error) is cls
        assert isinstance(error, HoneydewError)
        assert (error.job_id, error.queue, error.failure, error.attempts) == ("job 1", "photos", self.FAILURE, 3)
        for name in ("kind", "class_name", "message", "traceback", "exit_code", "signal", "attempt", "node"):
            assert getattr(error, name) == getattr(self.FAILURE, name)
        assert str(error) == "job job 1 of queue 'photos' failed after 3 attempt(s): signal: WorkerDied: killed"

    def test_a_lost_queue_is_no_failure_of_the_job(self):
        assert not issubclass(QueueLost, JobFailed)

    def test_an_uncertain_enqueue_carries_its_job_through_pickling(self):
        error = pickle.loads(pickle.dumps(EnqueueUncertain("no answer", job=("handle", 1))))
        assert (str(error), error.job) == ("no answer", ("handle", 1))
