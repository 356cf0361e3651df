"""Measures what is promised about speed and memory: `python -m benchmarks`, and a few programs of their own."""
