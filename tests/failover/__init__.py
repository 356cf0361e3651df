"""Tests of failovers: a primary with standbys, of which one takes over."""
