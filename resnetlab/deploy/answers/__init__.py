"""Predictions as people want them: tables, a competition's form, folders of classes."""
