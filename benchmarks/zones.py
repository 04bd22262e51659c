"""Time zones whose minute begins at any second of UTC's, so that "every minute" falls due when all is ready.

``PYTHONTZPATH`` names their directory; the usual zones then come from the package tzdata.
"""

import datetime as dt
import struct
from pathlib import Path


def write(directory: Path) -> None:
    """Write ``Bench/00`` to ``Bench/59``: in ``Bench/20`` a minute begins when UTC's seconds are 20."""
    (directory / "Bench").mkdir(parents=True)
    for second in range(60):
        counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
        kind = struct.pack(">lbb", -second % 60, 0, 0)
        (directory / "Bench" / f"{second:02}").write_bytes(b"TZif" + bytes(16) + counts + kind + b"BEN\0")


def of(instant: dt.datetime) -> str:
    """The zone in which a minute begins at ``instant``."""
    return f"Bench/{instant.second:02}"
