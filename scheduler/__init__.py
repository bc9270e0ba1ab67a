"""Where and when a request runs: synchronous decisions over plain data, clock injected, no I/O."""
