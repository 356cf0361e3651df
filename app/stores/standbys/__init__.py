"""Standbys that answer reads: how new each must be for this process, and which one is asked."""
