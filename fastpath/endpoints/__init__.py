"""API paths: which stages each takes, what its body must be, in whose dialect it answers."""
