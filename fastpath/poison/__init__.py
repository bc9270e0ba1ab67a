"""Requests that kill workers: marked while they run, struck when their worker dies, refused after two deaths."""
