"""Measurements: what a request and a chunk cost, as ratios to other proxies in one run."""
