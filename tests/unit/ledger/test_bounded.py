"""No table of ours grows for ever: each is pruned, or has as many rows as there are things of its kind."""

import inspect
import re

from django.apps import apps

from cutover.ledger import retention

BOUNDED = {
    "Fence": "one row",
    "Cutover": "one row",
    "Entry": "one an entry, by name",
    "Declaration": "one a side",
    "ImportedEntry": "one an entry that was imported",
    "OperatorWord": "one a task",
    "ShadowRun": "the latest one",
    "ShadowSlot": "those of the latest shadow run",
    "UnmanagedBeat": "one a process of a stock beat; how long ago it was heard does not say that it is gone",
}


def test_every_table_is_pruned_or_bounded() -> None:
    tables = {model.__name__ for model in apps.get_app_config("cutover").get_models() if not model._meta.proxy}
    pruned = set(re.findall(r"models\.([A-Z]\w+)\.objects", inspect.getsource(retention)))
    assert pruned >= {"Slot", "Term", "Transition", "Pause", "QuietWait", "SwitchGuard", "SlotlessSender"}
    assert pruned | BOUNDED.keys() == tables
    assert pruned & BOUNDED.keys() == set()
