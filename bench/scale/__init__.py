"""CPU per request as curves: over workers, connections, endpoints and keys."""
