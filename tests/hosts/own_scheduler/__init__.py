"""A beat whose scheduler is the project's own."""
