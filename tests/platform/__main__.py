"""``python -m tests.platform [--short] [PLATFORM ...]``: rehearse and print the table; exit code 0: nothing missed."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from demo.processes import Processes, interrupt_on_termination

from .rehearsal import Rehearsal, Result
from .rules import PLATFORMS


def main() -> int:
    """Rehearse on each platform that was named, or on all."""
    interrupt_on_termination()
    names = [rules.name for rules in PLATFORMS]
    parser = argparse.ArgumentParser(prog="python -m tests.platform")
    parser.add_argument("platform", nargs="*", help=f"by default all: {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="from A to C and back to B only")
    arguments = parser.parse_args()
    if strangers := set(arguments.platform) - set(names):
        parser.error(f"there is no {', '.join(strangers)}; there are {', '.join(names)}")
    results = []
    for rules in PLATFORMS:
        if not arguments.platform or rules.name in arguments.platform:
            directory, started = Path(tempfile.mkdtemp(prefix="rehearsal-")), time.monotonic()

            def tell(step: str, started: float = started, name: str = rules.name) -> None:
                print(f"[{time.monotonic() - started:5.1f} s] {name}: {step}", flush=True)

            with Processes(logs=directory / "logs") as processes:
                results.append(Rehearsal(rules, processes, directory, tell).run(whole=not arguments.short))
            if results[-1].passed:
                shutil.rmtree(directory)
            else:
                print(f"{rules.name}: everything is kept in {directory}")
    print(table(results))
    return 0 if all(result.passed for result in results) else 1


def table(results: list[Result]) -> str:
    """The releases with their overlaps, then what was counted, platform by platform."""
    lines = [f"{'platform':<18} {'slots':>6} {'missed':>6} {'doubled':>7} {'gap s':>6} {'requests':>8} {'failed':>6}"]
    for result in results:
        verdict = result.verdict
        lines.append(
            f"{result.platform:<18} {verdict.slots:>6} {len(verdict.missed):>6} {len(verdict.doubled):>7} "
            f"{verdict.longest_gap_s:>6} {result.requests:>8} {len(result.failed):>6}"
        )
        overlaps = ", ".join(f"{deploy.release} {deploy.overlap_s:g}" for deploy in result.deploys)
        lines.append(f"    releases and overlaps (s): {overlaps}")
        lines.append(f"    longest gap: {verdict.longest_gap}")
        if verdict.away_s:
            lines.append(f"    the machine stood still for {verdict.away_s} s, which no gap counts")
        lines += [
            f"    {told}: given back by a worker without the run guard, and run again" for told in verdict.run_unguarded
        ]
        lines += [f"    {finding}" for finding in (*verdict.missed, *verdict.doubled, *result.failed)[:20]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
