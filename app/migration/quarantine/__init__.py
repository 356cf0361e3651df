"""Rows that the target refused: seen, mended and loaded again."""
