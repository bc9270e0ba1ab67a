"""Models and their endpoints: their tables, and what may be done with them while the gateway runs."""
