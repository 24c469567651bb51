"""Verbs on predictions alone, a run's or those of another tool: no model is run here."""
