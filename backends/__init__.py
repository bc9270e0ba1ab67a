"""Talking to model servers: transports, wire dialects, and the mock model server."""
