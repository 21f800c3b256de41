"""Slices of volumes as pictures for the browser."""
