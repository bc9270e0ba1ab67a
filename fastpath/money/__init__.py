"""Prices and amounts: integer arithmetic that both planes share, so that a bill has one way to be computed."""
