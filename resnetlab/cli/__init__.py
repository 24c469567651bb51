"""The command line: reads arguments, calls a workflow, prints what came of it."""
