"""Models for other runtimes: made, compared with the original, and used without torch."""
