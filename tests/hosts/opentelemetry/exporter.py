"""Spans into a file: one line for each."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class ToFile(SpanExporter):
    """Writes whole lines, whatever the number of processes."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        found = [
            {
                "name": span.name,
                "trace": f"{span.context.trace_id:032x}",
                "task_id": (span.attributes or {}).get("messaging.message.id"),
            }
            for span in spans
        ]
        file = os.open(
            Path(os.environ["HOST_DIRECTORY"]) / "spans.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
        )
        try:
            os.write(file, "".join(json.dumps(span) + "\n" for span in found).encode())
        finally:
            os.close(file)
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    """A tracer provider that exports to the file, at once."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(ToFile()))
    return made
