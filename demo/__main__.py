"""``python -m demo``: play the story, judge it, report it. Exit code 0: nothing missed, doubled or failed."""

import json
import shutil
import sys
import time

from .processes import ROOT, Processes, interrupt_on_termination
from .story import Story, StoryFailed
from .verdict import judge

DIRECTORY = ROOT / "var" / "demo"
INTERRUPTED = 130
SHOWN = {
    "slots_expected": "slots that fell due",
    "slots_run": "slots run",
    "missed": "missed",
    "doubled": "doubled",
    "off_schedule": "sent off schedule",
    "requests_total": "requests",
    "requests_failed": "requests failed",
    "switch_gap_ms": "ms without a leader at a cutover",
    "rollback_gap_ms": "ms without a leader at the rollback",
    "max_late_ms": "ms late, the latest slot around a switch",
    "mails": "digests mailed",
    "survivors": "processes left over",
    "seconds": "seconds, all in all",
}


def main() -> int:
    """Play the story in a directory of its own and return the exit code."""
    interrupt_on_termination()
    started = time.monotonic()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    processes = Processes(logs=DIRECTORY / "logs")
    try:
        with processes:
            evidence = Story(processes, DIRECTORY).run()
    except KeyboardInterrupt:
        print(f"\nInterrupted. Processes left over: {len(processes.survivors())}.", file=sys.stderr)
        return INTERRUPTED
    except (StoryFailed, RuntimeError, TimeoutError) as error:
        print(f"\nThe story broke off: {error}", file=sys.stderr)
        return 1
    report = judge(evidence)
    report["survivors"] = len(processes.survivors())
    report["seconds"] = round(time.monotonic() - started, 1)
    report["passed"] = report["passed"] and not report["survivors"]
    (DIRECTORY / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(_table(report))
    return 0 if report["passed"] else 1


def _table(report: dict[str, object]) -> str:
    width = max(map(len, SHOWN.values()))
    lines = [f"    {title:<{width}}  {report[key]!s:>8}" for key, title in SHOWN.items()]
    verdict = "Passed: every slot once, every request answered." if report["passed"] else "FAILED."
    var = DIRECTORY.relative_to(ROOT)
    return "\n".join(["", *lines, "", verdict, f"The whole report: {var}/report.json; logs: {var}/logs/"])


if __name__ == "__main__":
    sys.exit(main())
