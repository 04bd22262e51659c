"""Takes each of the safeguards out of a copy of the project, and shows that a test fails without it.

python -m tests.faults.mutants [WORD ...]

With words: of those safeguards alone whose name has one of them.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.processes import ROOT, python

LEFT_OUT = shutil.ignore_patterns(".*", "var", "staticfiles", "dist", "build", "__pycache__", "node_modules")
TESTS_FAILED = 1
"""pytest's exit code for it; every other one would prove nothing."""
SCENARIO = "tests/faults/test_scenarios.py::test_every_slot_is_run_once[{}]"
LEDGER = "tests/integration/ledger/test_{}.py::{}"
DISPATCHER = "tests/integration/beats/test_dispatcher.py::{}"
PAUSING = "tests/integration/beats/test_pausing.py::{}"
PHASES = "tests/integration/phases/test_{}.py::{}"
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
                'models.UniqueConstraint(fields=SLOT_KEY, name="cutover_slot_once")',
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
                "self._signal(signals.run_deduplicated, outcome=outcome.value)\n        return False",
                "return True",
            ),
        ),
        (GUARD.format("test_the_second_message_of_a_slot_is_dropped_and_counted_and_what_belongs_to_no_slot_runs"),),
    ),
    Mutant(
        "the end that is recorded before the message is acknowledged",
        (("cutover/workers/admission.py", "if not (is_eager or self._task.acks_late):", "if not is_eager:"),),
        (
            "tests/integration/workers/test_admission.py"
            "::test_the_end_that_decides_of_a_redelivered_message_is_recorded_before_the_first_is_acknowledged",
        ),
    ),
    Mutant(
        "the slot that was sent under an entry's old name",
        (("cutover/workers/unmanaged.py", "[name, *config.renames.before(name)]", "[name]"),),
        ("tests/integration/workers/test_unmanaged.py::test_what_a_leader_has_sent_under_the_old_name_runs_once",),
    ),
    Mutant(
        "the pause in the claim's own transaction",
        (
            (
                "cutover/ledger/claims.py",
                "self._pauses.read_locked(fence)\n            refused = {",
                "NOTHING_PAUSED\n            refused = {",
            ),
            ("cutover/ledger/claims.py", "import Paused, Pauses", "import NOTHING_PAUSED, Paused, Pauses"),
        ),
        (
            LEDGER.format("pauses", "test_under_a_pause_nothing_is_claimed_and_nothing_recorded_as_missed"),
            LEDGER.format("pauses", "test_a_claim_that_waits_for_the_fence_while_a_pause_is_committed_is_refused"),
        ),
    ),
    Mutant(
        "the pause in the replay's own transaction",
        (("cutover/ledger/replays.py", "self._pauses.read_locked(fence)", "NOTHING_PAUSED"),),
        (PAUSING.format("test_what_was_asked_for_stays_so_under_a_pause_and_is_sent_after_it"),),
    ),
    Mutant(
        "the backlog that a pause holds back",
        (("cutover/beats/agenda.py", "[*self._held, *self._backlogs.waiting.take(paused.holds)]", "self._held"),),
        (
            "tests/unit/beats/test_agenda.py"
            "::test_a_backlog_that_waits_behind_an_older_one_is_held_back_by_a_pause_and_let_go_after_it",
        ),
    ),
    Mutant(
        "the side in the replay's own transaction",
        (("cutover/ledger/replays.py", "if fence.side is not side:", "if False:"),),
        (LEDGER.format("replays", "test_nothing_is_asked_for_of_a_side_that_is_not_active_any_more"),),
    ),
    Mutant(
        "the guard's word",
        (("cutover/phases/switch_guard.py", "        if wrong:\n", "        if False:\n"),),
        (PHASES.format("guard", "test_a_switch_that_is_not_well_is_rolled_back_with_its_reason_in_the_journal"),),
    ),
    Mutant(
        "the quiet wait's last look",
        (
            (
                "cutover/phases/operations/quiet_wait.py",
                "        return check\n\n    def _poll_patiently",
                '        return Check(NAME, True, "")\n\n    def _poll_patiently',
            ),
        ),
        (PHASES.format("quiet", "test_what_is_claimed_meanwhile_is_seen_at_the_instant"),),
    ),
    Mutant(
        "that what is called off stays so",
        (("cutover/phases/operations/quiet_wait.py", ".exclude(order=Order.CALL_OFF)", ""),),
        (
            PHASES.format(
                "quiet",
                "test_what_is_called_off_stays_so_whatever_another_operator_orders_before_it_is_heard",
            ),
        ),
    ),
    Mutant(
        "the sweep",
        (("cutover/beats/sweep.py", "for claim in claims:", "for claim in ():"),),
        (SCENARIO.format("leader-killed-when-claimed"),),
    ),
    Mutant(
        "the sweep's patience with entries whose every slot counts",
        (("cutover/beats/sweep.py", "if claim.superseded and not sends_every:", "if claim.superseded:"),),
        (
            DISPATCHER.format(
                "test_a_sweep_gives_up_no_claim_of_an_entry_whose_every_slot_counts_but_what_is_beyond_its_bound"
            ),
        ),
    ),
    Mutant(
        "what a backlog leaves of a row's last run",
        (
            (
                "cutover/beats/sources/upkeep.py",
                "Value(stored(max(at)))",
                "Value(stored(dt.datetime.now(dt.UTC)))",
            ),
        ),
        (
            "tests/integration/beats/test_scheduler.py"
            "::test_a_beat_that_is_started_in_the_middle_of_a_backlog_goes_on_with_it",
        ),
    ),
    Mutant(
        "the question whether what is to be replayed was missed",
        (("cutover/ledger/replays.py", ".filter(**missed)", ""),),
        (LEDGER.format("replays", "test_what_is_asked_for_is_claimed_once_oldest_first_under_the_leaders_epoch"),),
    ),
    Mutant(
        "the sweep's patience with what was replayed",
        (("cutover/beats/sweep.py", "if claim.is_replayed:", "if False:"),),
        (DISPATCHER.format("test_a_sweep_publishes_what_was_replayed_however_old_and_superseded_it_is"),),
    ),
)


def chosen(words: Sequence[str]) -> list[Mutant]:
    """Those whose safeguard is named with one of ``words``; all where there are none."""
    return [mutant for mutant in MUTANTS if not words or any(word in mutant.safeguard for word in words)]


def mutated(project: Path, mutant: Mutant) -> dict[Path, str]:
    """What each of its files is to hold. ValueError where a file does not hold the safeguard exactly once."""
    texts: dict[Path, str] = {}
    for name, safeguard, instead in mutant.changes:
        file = project / name
        text = texts.get(file) or file.read_text()
        if text.count(safeguard) != 1:
            raise ValueError(f"{name} does not hold {safeguard!r} exactly once: this mutant needs to be written again")
        texts[file] = text.replace(safeguard, instead)
    return texts


def main(words: Sequence[str]) -> int:
    """Exit code 0 when the tests pass on the project as it is and each mutant is noticed."""
    if not (mutants := chosen(words)):
        print(f"No safeguard is named with {' or '.join(words)}.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        shutil.copytree(ROOT, whole, ignore=LEFT_OUT)
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        print(f"{len(tests)} tests on the project as it is ... ", end="", flush=True)
        code, output = _pytest(whole, tests)
        print("pass" if code == 0 else f"do not pass:\n{output}")
        if code:
            return 1
        noticed = [_is_noticed(whole, Path(folder) / f"mutant-{number}", m) for number, m in enumerate(mutants, 1)]
    return 0 if all(noticed) else 1


def _is_noticed(whole: Path, copy: Path, mutant: Mutant) -> bool:
    shutil.copytree(whole, copy, ignore=LEFT_OUT)
    for file, text in mutated(copy, mutant).items():
        file.write_text(text)
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
    sys.exit(main(sys.argv[1:]))
