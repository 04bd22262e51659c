"""Check-ins: what has become of slots, told to Sentry Crons and to ping URLs by whoever leads, out of the ledger.

Nothing here imports ``sentry_sdk``, which is the project's own, before it is told to.
"""
