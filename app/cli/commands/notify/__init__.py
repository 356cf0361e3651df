"""The command `botdata notify`, and what people are told of a step's end."""
