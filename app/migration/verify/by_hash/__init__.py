"""Comparing by hashes, so that equal rows stay where they are."""
