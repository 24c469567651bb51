"""Figures, each from plain numbers or images to a file."""
