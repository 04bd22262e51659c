"""Checks the protocol with as many faults as three minutes allow.

python -m tests.model [--brief]
"""

import sys
import tempfile
from pathlib import Path

from tests.model.checker import BRIEF, FULL, check, missing


def main(arguments: list[str]) -> int:
    """0 when every promise holds, 1 when one is broken, 2 when it cannot be checked here."""
    if lack := missing():
        print(lack, file=sys.stderr)
        return 2
    failed, states, seconds = False, 0, 0.0
    for name, options in (BRIEF if arguments == ["--brief"] else FULL).items():
        with tempfile.TemporaryDirectory() as directory:
            found = check(options, Path(directory))
        print(f"{found.states:>12,} states {found.seconds:6.1f} s  {name}: {options}", flush=True)
        if found.broken:
            print(f"Broken: {found.broken}. It comes about like this:\n{found.story}", flush=True)
        failed, states, seconds = failed or bool(found.broken), states + found.states, seconds + found.seconds
    print(f"{states:>12,} states {seconds:6.1f} s  {'BROKEN' if failed else 'all promises hold'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
