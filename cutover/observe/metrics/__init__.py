"""Metrics for Prometheus: what beats and workers count, and what the database says of the site at a scrape.

Nothing here imports ``prometheus_client``, which the extra ``metrics`` brings, before it is told to expose anything.
"""
