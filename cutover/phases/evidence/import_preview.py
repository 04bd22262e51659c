"""The code schedule, the rows that there are, and how the one would become the other."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from celery.beat import ScheduleEntry
from django_celery_beat.models import PeriodicTask

from cutover.conf import Config
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.phases.context import Context
from cutover.phases.evidence.side import enabled_rows
from cutover.plural import counted
from cutover.schedules import importer, rows
from cutover.schedules.convert import RowDraft
from cutover.schedules.fingerprint import fingerprint, lasting
from cutover.schedules.refusals import Refusal
from cutover.types import EntryName


@dataclass(frozen=True)
class ImportPreview:
    """The code's entries, what they become, what is in the way, and the rows, by entry name.

    ``others``: enabled rows that the code has no entry for. The database side will send them too.
    """

    config: Config
    entries: Mapping[EntryName, ScheduleEntry]
    drafted: Mapping[EntryName, RowDraft]
    refusals: Mapping[EntryName, list[Refusal]]
    present: Mapping[EntryName, PeriodicTask]
    others: Mapping[EntryName, PeriodicTask]

    @cached_property
    def hash(self) -> str:
        """Equal as long as phases 2 and 3 would come to the same, whether or not phase 2 has been run yet."""
        config = self.config
        entries = {}
        for name, entry in self.entries.items():
            drafted = self.drafted.get(name)
            whole = [rows.record(drafted.row), drafted.options, drafted.relative] if drafted is not None else []
            entries[name] = [
                lasting(fingerprint(entry.schedule)),
                *whole,
                [str(one) for one in self.refusals.get(name, ())],
            ]
        rules = [config.catch_up.value, str(config.catch_up_window), repr(config.entries)]
        if config.catch_up_most != Config.catch_up_most:  # what was approved before there was such a setting stays
            rules.append(str(config.catch_up_most))
        matters = {
            "entries": entries,
            "others": {name: rows.record(rows.values_of(row)) for name, row in self.others.items() if row.scheduler},
            "settings": [config.namespace, *rules],
        }
        text = json.dumps(matters, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def take(context: Context) -> ImportPreview:
    """Read everything, change nothing. Raises EntriesRefused for a code schedule that celery cannot read."""
    entries = context.entries
    context.progress(f"reading {counted(len(entries), 'entry')}")
    found, refused = importer.draft(context.app, context.config, entries)
    context.progress("comparing with the rows that there are")
    with outages(context.alias):
        present = rows.periodic_tasks(context.alias, entries.keys())
        imported = {kept.name: kept for kept in ImportedEntry.objects.using(context.alias)}
        enabled = rows.with_schedules(enabled_rows(context))
    refusals: dict[EntryName, list[Refusal]] = defaultdict(list)
    for refusal in refused:
        refusals[refusal.entry].append(refusal)
    drafted = {one.row.name: one for one in found}
    for name in drafted.keys() & present.keys():
        kept = imported.get(name)
        own = importer.objections(drafted[name].row, present[name], kept)
        if kept is not None and kept.enabled_before is not None:  # phase 3 has enabled it
            own = [refusal for refusal in own if refusal.field != "enabled"]
        refusals[name] += own
    others = {EntryName(row.name): row for row in enabled if row.name not in entries}
    return ImportPreview(context.config, entries, drafted, refusals, present, others)
