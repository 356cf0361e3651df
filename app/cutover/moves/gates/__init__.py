"""The gates before a move of the stage: each says what stands against it."""
