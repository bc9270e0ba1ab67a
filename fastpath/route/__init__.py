"""The route stage: from a model name to the replicas that may serve it."""
