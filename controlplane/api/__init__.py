"""The admin API: its routes with a rule for each, the gate before them, and one shape of errors."""
