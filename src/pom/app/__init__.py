"""The web app: annotate, and look at what came of it; it calls workflow and has no science of its own."""
