"""`python -m resnetlab` is the command line."""

from resnetlab.cli.main import entry_point

entry_point()
