"""What the commands say: in words and tables, and as documents."""
