"""What the gateway does when there is too much: a stream that never pauses, and twice the load of its CPU."""
