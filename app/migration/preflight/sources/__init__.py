"""What preflight sees of a source over REST or a connection."""
