"""What is remembered of runs between their starts, and what they report."""
