"""Who owes what: two double-entry ledgers, of what providers charge and of what tenants pay, that only ever grow."""
