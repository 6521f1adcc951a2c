"""Outcomes of calculations: documents, failures, their cache and their tables."""
