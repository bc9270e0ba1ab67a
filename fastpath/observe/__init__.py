"""Seeing what happens: counters, records, loop lag, the memory budget. Nothing here decides about a request."""
