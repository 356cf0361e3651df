"""The handover as a model whose states are all explored, and histories of real runs that the model accepts."""
