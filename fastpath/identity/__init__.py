"""Who calls: keys, the identify stage, and the caller's address behind proxies."""
