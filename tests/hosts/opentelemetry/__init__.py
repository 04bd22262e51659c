"""Traced by OpenTelemetry."""
