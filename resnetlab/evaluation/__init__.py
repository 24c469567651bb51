"""Evidence: what a table of predictions shows, and how sure that is. No model is run here."""
