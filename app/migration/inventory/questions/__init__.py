"""What is asked of each end: one question a kind of item, in tables of data by what the items belong to."""
