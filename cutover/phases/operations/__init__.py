"""What a phase does: the journal of steps, the switchover, the rows around it."""
