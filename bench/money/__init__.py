"""What keeping books costs: the race with control process and outbox, the backlog under a rate, a noisy neighbour."""
