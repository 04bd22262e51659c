"""``make bench`` and ``make bench-full``: this project beside the others, in one run, on real servers.

    python -m benchmarks [--full] [--repeat 5] [--scale 0.01] [--write] [PART...]

Each part prints its table, with the goal of a figure and whether it was reached; the exit code is 1 when a part could
not be measured, never because a goal was missed. ``--write`` puts the figures into docs/benchmarks.md.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import contenders, page
from benchmarks.figures import Row, as_text
from benchmarks.parts.boot import boot
from benchmarks.parts.burst import burst
from benchmarks.parts.command import command
from benchmarks.parts.guard import guard
from benchmarks.parts.idle import idle
from benchmarks.parts.size import size_of
from benchmarks.parts.steady import steady
from benchmarks.parts.succession import handover, kill
from benchmarks.parts.thaw import thaw
from benchmarks.rig import Rig
from demo.processes import ROOT, interrupt_on_termination

PARTS: Final[dict[str, Callable[[Rig], list[Row]]]] = {
    "burst": burst,
    "steady": steady,
    "idle": idle,
    "boot": boot,
    "handover": handover,
    "kill": kill,
    "thaw": thaw,
    "guard": guard,
    "command": command,
    "size": partial(size_of, contenders.ROWS_POSTGRES),
    "size-sqlite": partial(size_of, contenders.ROWS),
    "size-mariadb": partial(size_of, contenders.ROWS_MARIADB),
}
FULL_ONLY: Final = ("size", "size-sqlite", "size-mariadb")
PEERS: Final = ROOT / ".venv" / "peers"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--full", action="store_true", help="the long run")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply numbers of entries by this, to try it out")
    parser.add_argument("--repeat", type=int, help="how often each figure is measured", metavar="N")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    interrupt_on_termination()
    wanted = options.parts or [name for name in PARTS if options.full or name not in FULL_ONLY]
    results: dict[str, list[Row]] = {}
    given = (PEERS, options.full, options.scale, options.repeat)
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), *given) as rig:
        for name in wanted:
            began = time.monotonic()
            try:
                results[name] = PARTS[name](rig)
            except Exception:
                traceback.print_exc()
                continue
            print(f"\n{name} ({time.monotonic() - began:.0f} s)\n{as_text(results[name])}", flush=True)
    missed = sum(row.is_reached is False for rows in results.values() for row in rows)
    goals = sum(row.goal is not None for rows in results.values() for row in rows)
    print(f"\n{goals - missed} of {goals} goals reached")
    if options.write:
        page.write(results, PEERS, full=options.full)
    return int(len(results) < len(wanted))


if __name__ == "__main__":
    sys.exit(main())
