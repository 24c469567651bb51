"""`python -m resnetlab` is the command line."""

from resnetlab.cli import entry_point

entry_point()
