"""The training loop around Lightning."""
