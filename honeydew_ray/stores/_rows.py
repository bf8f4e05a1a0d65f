"""Jobs as rows of a SQLite table, and back."""

from __future__ import annotations

import json
import logging
import pickle
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from honeydew_ray.arguments import refuse_type
from honeydew_ray.errors import HoneydewError, QueueLost, StoreDamaged
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.payload import HeldBuffer, Payload, dumps_whole

log = logging.getLogger("honeydew_ray")

LARGE_BYTES = 32_768
"""Payloads of more than this, or with buffers, stay in the file until they are needed."""

MAX_RESULT_BYTES = 2**20
"""Results of more than this are not kept once the job has ended."""

FIXED = ("row", "id", "method", "is_function", "enqueued_at", "nbytes", "buffers", "crc", "data")
CHANGING = (
    "changed", "priority", "timeout_s", "client", "due_at", "state", "seq", "attempt", "incarnation", "failures", "redeliveries",
    "private", "last_error", "started_at", "completed_at",
)
COLUMNS = CHANGING + FIXED
"""The columns of the table of jobs, as `_schema` makes it; the data are last, so that the rest is read without them."""

ENDED = (
    "id", "completed_at", "method", "state", "enqueued_at", "started_at", "failures", "redeliveries", "moved_to", "last_error", "result",
)
"""The columns of the table of jobs that ended."""

SELECT_JOBS = (f"SELECT row, {', '.join(COLUMNS[:-1])}, CASE WHEN nbytes <= {LARGE_BYTES} AND buffers = 0 THEN data END FROM jobs")
SELECT_ENDED = f"SELECT {', '.join(ENDED)} FROM ended"

_TYPES = {
    "'integer'": ("changed", "priority", "seq", "attempt", "failures", "redeliveries", "is_function", "nbytes", "buffers", "crc"),
    "'real'": ("due_at", "enqueued_at"),
    "'real', 'null'": ("timeout_s", "started_at", "completed_at"),
    "'text'": ("state", "incarnation", "method"),
    "'text', 'null'": ("client", "last_error"),
    "'blob'": ("data",),
    "'blob', 'null'": ("private",),
}
SELECT_WRONG_TYPE = "SELECT row FROM jobs WHERE " + " OR ".join(
    f"typeof({column}) NOT IN ({types})" for types, columns in _TYPES.items() for column in columns) + " LIMIT 1"
"""Finds a row with a value of a type that is never written: SQLite holds any type in any column."""

Values = tuple[Any, ...]

_FAILURE_FIELDS = ("kind", "class_name", "message", "traceback", "exit_code", "signal", "attempt", "node")
_TUPLE, _LIST = {tuple}, {list}
_SCALARS = (str, int, float, type(None))  # bool is an int


@dataclass(frozen=True, slots=True)
class LeftOut(Payload):
    """Stands in memory for a payload that is in the file only."""

    size: int = 0

    @property
    def nbytes(self) -> int:
        """The size of what was left out."""
        return self.size


@dataclass(frozen=True, slots=True)
class NewRow:
    """A job to be inserted. The checksum, and the buffers, are still to come: fetching them may block."""

    row: int
    changing: Values
    job: JobRecord
    stored_id: Any


def new_row(row: int, changed: int, job: JobRecord) -> NewRow:
    """The row of a new job. Raises `TypeError` for an id, and `PayloadError` for a note, that cannot be stored."""
    return NewRow(row, changing(changed, job), job, store_id(job.id))


def changing(changed: int, job: JobRecord) -> Values:
    """What a row says of how a job stands; ``changed`` ascends with every change."""
    return (
        changed, job.priority, job.timeout_s, job.client, job.due_at, job.state.value, job.seq, job.attempt, job.incarnation,
        job.failures, job.redeliveries, None if job.private is None else dumps_whole(job.private, "the failure mode's note"),
        None if job.last_error is None else _store_failure(job.last_error), job.started_at, job.completed_at,
    )


def whole_row(new: NewRow) -> tuple[Values, list[Any]]:
    """All values of a row, and its buffers' bytes. Blocks while a buffer is fetched."""
    job, payload = new.job, new.job.payload
    fetched = [memoryview(buffer.fetch()).cast("B") for buffer in payload.buffers]
    crc = checksum(job.id, job.method, payload.data, fetched)
    fixed = (new.row, new.stored_id, job.method, job.is_function, job.enqueued_at, payload.nbytes, len(fetched), crc, payload.data)
    return new.changing + fixed, fetched


def slim(job: JobRecord) -> JobRecord:
    """The job as it is held in memory: without its payload if that is large."""
    payload = job.payload
    if isinstance(payload, LeftOut) or (not payload.buffers and len(payload.data) <= LARGE_BYTES):
        return job
    return with_payload(job, LeftOut(b"", (), payload.nbytes))


def with_payload(job: JobRecord, payload: Payload) -> JobRecord:
    """The job with another payload."""
    return job._replace(payload=payload)


def load_job(queue: str, values: Sequence[Any]) -> JobRecord:
    """A job from the values of `COLUMNS`, where data are None if they are large. Raises `StoreDamaged`."""
    (_, priority, timeout_s, client, due_at, state, seq, attempt, incarnation, failures, redeliveries, private, last_error,
     started_at, completed_at, _, stored_id, method, is_function, enqueued_at, nbytes, _, crc, data) = values
    job_id = load_id(stored_id)
    payload = LeftOut(b"", (), nbytes) if data is None else Payload(data)
    if data is not None and checksum(job_id, method, data, ()) != crc:
        raise StoreDamaged(f"job {job_id}: its bytes do not match their checksum")
    return JobRecord(
        job_id, queue, method, payload, bool(is_function), priority, timeout_s, client, enqueued_at, due_at, JobState(state), seq,
        attempt, incarnation, failures, redeliveries, None if private is None else _load_private(job_id, private),
        None if last_error is None else Failure(**json.loads(last_error)), started_at, completed_at,
    )


def load_payload(stored_id: Any, method: str, crc: int, data: bytes, buffers: Iterable[bytes]) -> Payload:
    """A large payload from its row. If it is damaged, one that says so to whoever loads it: one job must not stop the others."""
    held = tuple(HeldBuffer(buffer) for buffer in buffers)
    job_id = load_id(stored_id)
    if checksum(job_id, method, data, (buffer.data for buffer in held)) == crc:
        return Payload(data, held)
    log.error("job %s: its arguments, read from the store, do not match their checksum", job_id)
    return Payload(pickle.dumps(_Gone(StoreDamaged, f"job {job_id}: its arguments were damaged in the store's file")))


def ended_row(job: JobRecord) -> Values:
    """What is kept of a job that ended, by the columns `ENDED`: how, and its result if that is not large."""
    result = job.result.data if job.result is not None and not job.result.buffers and len(job.result.data) <= MAX_RESULT_BYTES else None
    return (
        store_id(job.id), job.completed_at or 0.0, job.method, job.state.value, job.enqueued_at, job.started_at, job.failures,
        job.redeliveries, job.moved_to, None if job.last_error is None else _store_failure(job.last_error), result,
    )


def load_ended(queue: str, values: Sequence[Any]) -> JobRecord:
    """The job that `ended_row` made these of; loading a result that was not kept raises `QueueLost`."""
    stored_id, completed_at, method, state, enqueued_at, started_at, failures, redeliveries, moved_to, last_error, result = values
    job_id = load_id(stored_id)
    if result is None and state == JobState.DONE.value:
        text = f"job {job_id} is done, but the queue's process ended before its result was fetched, and it was too large to be kept"
        result = pickle.dumps(_Gone(QueueLost, text))
    return JobRecord(
        job_id, queue, method, Payload(b""), enqueued_at=enqueued_at, state=JobState(state), failures=failures, redeliveries=redeliveries,
        last_error=None if last_error is None else Failure(**json.loads(last_error)), started_at=started_at, completed_at=completed_at,
        result=None if result is None else Payload(result), moved_to=moved_to,
    )


def checksum(job_id: JobId, method: str, data: bytes, buffers: Iterable[Any]) -> int:
    """Over all that makes the job what it is."""
    crc = zlib.crc32(data, zlib.crc32(f"{job_id!r} {method}".encode("utf-8", "surrogatepass")))
    for buffer in buffers:
        crc = zlib.crc32(buffer, crc)
    return crc


def store_id(job_id: JobId) -> Any:
    """An id as SQLite holds it: a string as text, a number or a tuple of such as JSON."""
    if isinstance(job_id, str) and job_id.isascii():
        return job_id
    if not _is_plain(job_id):
        raise refuse_type("SQLiteStore", "a job's id", job_id, "a string, a number, or a tuple of such", 'job_id="photo-7"')
    return json.dumps(job_id).encode()


def load_id(stored: Any) -> JobId:
    """The id that `store_id` made this of."""
    return stored if isinstance(stored, str) else _tuples(json.loads(stored))


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if type(value) in _TUPLE else isinstance(value, _SCALARS)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if type(value) in _LIST else value


def _store_failure(failure: Failure) -> str:
    """As text, without the pickled exception: no class is imported by a name from the file."""
    return json.dumps({name: getattr(failure, name) for name in _FAILURE_FIELDS})


def _load_private(job_id: JobId, private: bytes) -> Any:
    try:
        return pickle.loads(private)
    except Exception:  # its class is gone or changed: a note less is better than a queue that does not start
        log.exception("job %s: the failure mode's note cannot be loaded any more; it goes on without", job_id)
        return None


class _Gone:
    """Pickles as a call that raises an error of ours."""

    def __init__(self, error: type[HoneydewError], message: str) -> None:
        self._error = error
        self._message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (self._error, self._message)


def _raise(error: type[HoneydewError], message: str) -> NoReturn:
    raise error(message)
