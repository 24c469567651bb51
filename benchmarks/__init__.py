"""resnetlab and its peers on the same pictures, in turn, in one run: `python -m benchmarks`."""
