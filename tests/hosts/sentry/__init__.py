"""Watched by Sentry: errors, traces, and a check-in for each periodic run."""
