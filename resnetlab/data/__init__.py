"""From sources to batches: which pictures there are, and how they reach a network. No torch."""
