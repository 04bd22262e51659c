"""Each mutant of the safeguards still fits the code, and names tests that there are."""

import ast
import re

import pytest

from demo.processes import ROOT
from tests.faults.mutants import MUTANTS, Mutant, mutated


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.safeguard)
def test_a_mutant_changes_what_there_is_and_is_noticed_by_tests_that_there_are(mutant: Mutant) -> None:
    for file, text in mutated(ROOT, mutant).items():
        ast.parse(text)
        assert text != file.read_text()
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name.partition('[')[0]}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_a_safeguard_that_was_written_otherwise_is_said() -> None:
    stale = Mutant("nothing", (("cutover/models.py", "what no model says", ""),), ())
    with pytest.raises(ValueError, match="needs to be written again"):
        mutated(ROOT, stale)
