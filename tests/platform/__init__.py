"""The migration as releases, on test platforms that deploy as real ones do: ``python -m tests.platform``."""
