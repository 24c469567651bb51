"""The four documents run again: what each did, step by step, and beside it what we would do."""
