"""resnetlab and its peers on the same images, in turn, in one run: `python -m benchmarks`."""
