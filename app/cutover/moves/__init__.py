"""What `botdata cutover` does in the target: moves of the stage, the gates before them, and what is told of both."""
