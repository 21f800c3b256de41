"""The command line: parse, import lazily, call the workflow, report."""
