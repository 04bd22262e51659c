"""Where a side's schedule comes from."""
