"""From sources to batches: which images there are, and how they reach a network. No torch."""
