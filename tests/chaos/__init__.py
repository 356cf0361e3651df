"""Faults put in from outside, thousands of them, seeded; after each the same question: is every row there, or named?

`python -m tests.chaos` runs all of it and prints a table; `test_chaos.py` a short form.
"""
