"""Writers of a sync back to the source."""
