"""The folder of a run: what lies in it, its environment, what has changed since it began."""
