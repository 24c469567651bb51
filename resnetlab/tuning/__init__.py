"""The search for the best settings: what is searched, which trials there are, how one is run."""
