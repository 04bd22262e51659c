"""The report of a period, for the change ticket: aggregated by the database, judged, drawn, and put on one page."""
