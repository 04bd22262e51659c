"""Every error that cutover raises. Message and remedy together are one line: what is wrong, and what to do."""


class CutoverError(Exception):
    """Base of all errors raised by cutover. ``remedy`` is what to do, where the message does not say so itself."""

    remedy = ""


class ConfigurationError(CutoverError):
    """A setting is missing, misspelt or contradicts another one."""


class LeaseUnavailable(CutoverError):
    """Redis gave no usable answer; nothing is known about the lease."""

    remedy = "start Redis, or fix CUTOVER['REDIS_URL'] or the alias's LOCATION"


class LeaseRefused(LeaseUnavailable):
    """Redis is there and refuses what it was asked; says why, and what to do."""

    remedy = ""


class LedgerUnavailable(CutoverError):
    """The database gave no usable answer; nothing was written."""

    remedy = "start the database, or fix DATABASES"


class LedgerRefused(LedgerUnavailable):
    """The database is there and refuses what it was asked: a right, a column or room is missing, or it only reads."""

    remedy = "look at the rights of DATABASES' user, at its migrations and its disk, and whether it is the primary"


class LedgerContended(LedgerUnavailable):
    """Another transaction was in the way of this one and won: nothing was written, and it may be tried again."""

    remedy = ""


class LedgerBusy(LedgerUnavailable):
    """Somebody else kept a lock for longer than is waited for: nothing was written."""

    remedy = "try again; where it comes again, find who holds the lock, or raise the timeout in DATABASES' OPTIONS"


class LedgerNotMigrated(LedgerUnavailable):
    """The database has no ledger yet: ``manage.py migrate`` has not run."""

    remedy = ""


class EntryRefused(CutoverError):
    """A schedule entry cannot be imported whole; says entry, field, reason and remedy."""


class ScheduleFailed(CutoverError):
    """A schedule of the project's own class does not say when it is due; says which class, and what it raised."""

    remedy = "give the class a remaining_estimate that answers for every instant"


class OperatorBusy(CutoverError):
    """Another operator's command is at work; says whose."""


class PhaseFailed(CutoverError):
    """A phase began and could not be completed; says what was put back."""


class NobodyLed(PhaseFailed):
    """No beat of a side has led in time; the other side is active again."""
