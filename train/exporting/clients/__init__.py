"""Runtimes that people have: one file a client, which says what it hands to its file."""
