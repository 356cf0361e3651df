"""Keys of a table: those that the source holds, how many there are, and the rows of them."""
