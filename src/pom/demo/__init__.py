"""The phantom cell."""
