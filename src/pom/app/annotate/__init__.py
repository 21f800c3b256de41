"""Annotating in the browser: the page, its panels, and the pages' rights to edit."""
