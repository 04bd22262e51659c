"""What would go to Sentry, into a file: one line for each item of an envelope."""

import json
import os
from pathlib import Path
from typing import Any

from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


class ToFile(Transport):
    """Writes whole lines, whatever the number of processes."""

    file = Path(os.environ["HOST_DIRECTORY"]) / "sentry.jsonl"

    def capture_envelope(self, envelope: Envelope) -> None:
        found: list[dict[str, Any]] = [
            {"pid": os.getpid(), "type": item.type, "payload": item.payload.json} for item in envelope.items
        ]
        lines = "".join(json.dumps(item, default=str) + "\n" for item in found if item["payload"] is not None)
        file = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, lines.encode())
        finally:
            os.close(file)
