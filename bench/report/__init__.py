"""The newest record of every suite as tables and pictures, written into docs/benchmarks.md between two marks."""
