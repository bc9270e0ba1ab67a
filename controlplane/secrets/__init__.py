"""Keys of model providers at rest: sealed with AES-256-GCM under a master key that the database never sees."""
