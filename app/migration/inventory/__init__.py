"""What a source holds, each item with a fate: moved, recreated, by hand, not needed, not visible or unknown."""
