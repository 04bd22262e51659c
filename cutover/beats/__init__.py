"""Sending it: one beat process, from standing by to leading, and what it sends by."""
