"""`botdata fleet`, on a database of several salons."""
