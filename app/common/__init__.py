"""What every part of the program may use."""
