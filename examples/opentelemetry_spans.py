"""A subscriber that makes an OpenTelemetry span of every attempt. Needs: pip install opentelemetry-sdk."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import honeydew_ray as honeydew
from honeydew_ray import Event, EventKind

ENDS = {EventKind.SUCCEEDED, EventKind.FAILED, EventKind.REDELIVERED, EventKind.CANCELLED}


class Spans(honeydew.Subscriber):
    """Lives in the queue's process. Here the spans go to a file; in earnest, to a collector, by an OTLPSpanExporter."""

    def __init__(self, path: str) -> None:
        self.path = path

    def opened(self, queue: str) -> None:
        self.file = Path(self.path).open("a")  # noqa: SIM115
        exporter = ConsoleSpanExporter(out=self.file, formatter=one_line)
        self.provider = TracerProvider(resource=Resource.create({"service.name": f"honeydew/{queue}"}))
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("honeydew")

    def received(self, events: Sequence[Event], missed: int) -> None:
        for event in events:
            if event.kind in ENDS and event.ran_s is not None:
                self.make_span(event)

    def make_span(self, event: Event) -> None:
        began_at = event.at - event.ran_s
        facts = {"honeydew.queue": event.queue, "honeydew.job_id": str(event.job_id), "honeydew.attempt": event.attempt,
                 "honeydew.worker": event.worker, "honeydew.outcome": str(event.kind), "honeydew.waited_s": event.waited_s or 0.0}
        facts = {name: value for name, value in facts.items() if value is not None}
        span = self.tracer.start_span(event.method or "job", kind=SpanKind.CONSUMER, start_time=nanoseconds(began_at), attributes=facts)
        if event.failure is not None:
            span.add_event("exception", {"exception.type": event.failure.class_name, "exception.message": event.failure.message,
                                         "exception.stacktrace": event.failure.traceback}, nanoseconds(event.at))
            span.set_status(StatusCode.ERROR, str(event.failure))
        span.end(nanoseconds(event.at))

    def closed(self) -> None:
        self.provider.shutdown()
        self.file.close()


class Barista:
    def brew(self, drink: str) -> str:
        return f"a cup of {drink}"

    def spill(self, drink: str) -> None:
        raise RuntimeError(f"no more {drink}")


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def one_line(span: ReadableSpan) -> str:
    facts = span.attributes or {}
    return f"{span.name}, attempt {facts['honeydew.attempt']}: {facts['honeydew.outcome']} {span.status.description or ''}".strip() + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spans"
        queue = honeydew.start_queue("bar", failure_mode=honeydew.Retry(times=1), subscribers=[Spans(str(path))])
        queue.start_workers(Barista, num=1)
        print(queue.submit("brew", "tea").result())
        try:
            queue.submit("spill", "milk").result()
        except honeydew.JobAbandoned as error:
            print("abandoned:", error.message)
        queue.stop()  # the subscriber hears of all that happened first
        print(path.read_text(), end="")


if __name__ == "__main__":
    main()
