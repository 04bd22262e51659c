"""Send again what was paused: everything, or one entry. The catch-up rules decide what becomes of the meantime."""

from typing import Final

from cutover.ledger.pauses import SITE
from cutover.phases.context import Context
from cutover.phases.operations.lock import operator_name
from cutover.phases.pause import known, wake
from cutover.phases.report import Outcome, Report, command

NAME: Final = "resume"


def run(context: Context, *, entry: str | None = None) -> Report:
    """End the pause of ``entry``, None for that of all; entries that are paused by themselves stay so.

    Raises ConfigurationError for no such entry. Typed again, or where nothing is paused, it says so.
    """
    name = known(context, entry)
    ended = context.ledger.pauses.resume(name, operator_name())
    what = "Everything" if name == SITE else name
    again = command("pause" if name == SITE else f"pause --entry {name}")
    if ended is None:
        return Report(
            NAME,
            Outcome.ALREADY,
            (),
            [f"{'The site' if name == SITE else name} is not paused; nothing was changed."],
            command("status"),
        )
    wake(context)
    said = [
        f"{what} is sent again.",
        "Each entry's catch-up rule decides about what fell due meanwhile: one slot may be sent late, the others are "
        'missed, and named in the ledger with a reason that begins with "paused".',
    ]
    return Report(NAME, Outcome.DONE, (), said, command("status"), again)
