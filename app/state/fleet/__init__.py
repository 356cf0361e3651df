"""Many salons of one database, as the tables tell of them."""
