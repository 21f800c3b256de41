"""Architectures, losses, and the devices they run on."""
