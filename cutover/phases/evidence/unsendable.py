"""Which entries of the active side cannot be sent as they are, and why; for claims the leader has noted it."""

from contextlib import suppress

from cutover import models
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence.side import enabled_rows
from cutover.schedules import overlay, rows
from cutover.types import EntryName, Side, SlotState


def unsendable(context: Context, side: Side) -> dict[EntryName, str]:
    """Why, by entry: rows that cannot be read, and claims whose message the leader could not send.

    Raises LedgerUnavailable.
    """
    with outages(context.alias):
        noted = models.Slot.objects.using(context.alias).filter(state=SlotState.CLAIMED).exclude(reason="")
        found = {EntryName(name): why for name, why in noted.order_by("due_at").values_list("entry", "reason")}
        if side is Side.CODE:
            return found
        enabled = rows.with_schedules(enabled_rows(context))
        reader = overlay.Reader(context.app, overlay.load(context.alias))
    for row in enabled:
        name = EntryName(row.name)
        if row.scheduler is None:
            found[name] = "its row has no schedule"
            continue
        try:
            reader.schedule(row)
        except Exception as exc:  # written past the model's own checks
            found[name] = f"its row's schedule cannot be read: {exc}"
            continue
        if why := rows.unreadable(row):
            found[name] = f"its row cannot be sent: {why}"
    return found


def unknown_tasks(context: Context, side: Side) -> dict[EntryName, str]:
    """The task of every enabled row that this project does not register: its workers drop such messages."""
    if side is Side.CODE:
        return {}  # a gate of phase 1
    with suppress(ImportError):
        context.app.loader.import_default_modules()
    with outages(context.alias):
        enabled = enabled_rows(context).order_by("name")
        named = list(enabled.exclude(task__in=list(context.app.tasks.keys())).values_list("name", "task"))
    return {EntryName(name): task for name, task in named}
