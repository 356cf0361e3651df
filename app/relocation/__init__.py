"""A salon moves from one server to another: its archive, the fence at the old place, and what has to be made right."""
