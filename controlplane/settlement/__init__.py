"""From the outbox to the ledger, and from the ledger to bills: the service that settles, and what people ask of it."""
