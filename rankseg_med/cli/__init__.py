"""The command line: parses, calls a workflow, prints; the only place that prints or exits."""
