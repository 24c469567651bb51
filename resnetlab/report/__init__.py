"""Figures and pages: what was found, drawn and written so that anybody can read it."""
