"""Answers of reads compared with the other store's."""
