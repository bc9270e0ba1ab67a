"""The front door: connections of callers, and the Exchange that both doors hand to the pipeline."""
