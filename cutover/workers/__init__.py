"""Running it once: the worker's run guard, and what it must know of other workers and beats."""
