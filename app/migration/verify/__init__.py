"""Comparing what the source holds with what the target holds."""
