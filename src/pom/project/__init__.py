"""A project folder: its configuration and its paths."""
