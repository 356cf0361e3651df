"""Many salons of one database: what is done for one is done for all, a few at a time."""
