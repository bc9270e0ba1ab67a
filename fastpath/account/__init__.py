"""The settle stage: what a finished request leaves behind in counters and records."""
