"""The loop, and what decides each of its steps."""
