"""The errors that a person can cause."""


class PomError(Exception):
    """Something a person can put right.

    Its text is one sentence that says what is wrong, where, and what to do. The command line prints it
    without a traceback; ``--debug`` shows the traceback too.
    """


class DiskError(PomError):
    """A disk or folder is full or read-only; what was to be written there is not at fault."""
