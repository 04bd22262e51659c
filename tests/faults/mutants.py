"""Takes each of the four safeguards out of a copy of the project, and shows that a test fails without it.

python -m tests.faults.mutants
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from demo.processes import ROOT, python

LEFT_OUT = shutil.ignore_patterns(".*", "var", "staticfiles", "dist", "build", "__pycache__", "node_modules")
TESTS_FAILED = 1
"""pytest's exit code for it; every other one would prove nothing."""
SCENARIO = "tests/faults/test_scenarios.py::test_every_slot_is_run_once[{}]"
LEDGER = "tests/integration/ledger/test_{}.py::{}"
GUARD = "tests/integration/workers/test_run_guard.py::{}"


@dataclass(frozen=True)
class Mutant:
    """One safeguard: where it stands, what is put in its place, and the tests of which at least one must notice."""

    safeguard: str
    changes: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the fence check",
        (
            (
                "cutover/ledger/fence.py",
                "if (row.epoch, row.side, row.holder) == (term.epoch, term.side, term.holder) else None",
                "",
            ),
        ),
        (
            LEDGER.format("claims", "test_a_leader_that_was_succeeded_claims_nothing"),
            LEDGER.format("claims", "test_a_leader_that_was_switched_away_claims_nothing"),
        ),
    ),
    Mutant(
        "the unique constraint",
        (
            (
                "cutover/models.py",
                'models.UniqueConstraint(fields=["entry", "due_at"], name="cutover_slot_once")',
                "",
            ),
            (
                "cutover/migrations/0001_initial.py",
                'models.UniqueConstraint(fields=("entry", "due_at"), name="cutover_slot_once")',
                "",
            ),
        ),
        (LEDGER.format("runs", "test_of_twenty_workers_one_starts_the_run_of_a_slot_that_nobody_claimed"),),
    ),
    Mutant(
        "the run guard's refusal",
        (
            (
                "cutover/workers/admission.py",
                "log(Event.RUN_DEDUPLICATED, **self.details, outcome=outcome.value)\n        return False",
                "return True",
            ),
        ),
        (GUARD.format("test_the_second_message_of_a_slot_is_dropped_and_counted_and_what_belongs_to_no_slot_runs"),),
    ),
    Mutant(
        "the sweep",
        (("cutover/beats/dispatcher.py", "for claim in self._ledger.claims.unpublished():", "for claim in ():"),),
        (SCENARIO.format("leader-killed-when-claimed"),),
    ),
)


def main() -> int:
    """Exit code 0 when the tests pass on the project as it is and each mutant is noticed."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        shutil.copytree(ROOT, whole, ignore=LEFT_OUT)
        tests = sorted({test for mutant in MUTANTS for test in mutant.tests})
        print(f"{len(tests)} tests on the project as it is ... ", end="", flush=True)
        code, output = _pytest(whole, tests)
        print("pass" if code == 0 else f"do not pass:\n{output}")
        if code:
            return 1
        noticed = [_is_noticed(whole, Path(folder) / f"mutant-{number}", m) for number, m in enumerate(MUTANTS, 1)]
    return 0 if all(noticed) else 1


def _is_noticed(whole: Path, copy: Path, mutant: Mutant) -> bool:
    shutil.copytree(whole, copy, ignore=LEFT_OUT)
    for file, safeguard, instead in mutant.changes:
        text = (copy / file).read_text()
        if text.count(safeguard) != 1:
            raise SystemExit(f"{file} does not hold {safeguard!r} exactly once: this mutant needs to be written again")
        (copy / file).write_text(text.replace(safeguard, instead))
    noticed = False
    for test in mutant.tests:
        print(f"without {mutant.safeguard}: {test.rpartition('::')[2]} ... ", end="", flush=True)
        code, output = _pytest(copy, [test])
        noticed |= code == TESTS_FAILED
        print(
            "fails, as it should" if code == TESTS_FAILED else f"DOES NOT NOTICE (pytest ended with {code})\n{output}"
        )
    shutil.rmtree(copy)
    return noticed


def _pytest(project: Path, tests: list[str]) -> tuple[int, str]:
    command = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return process.returncode, process.stdout[-3_000:]


if __name__ == "__main__":
    sys.exit(main())
