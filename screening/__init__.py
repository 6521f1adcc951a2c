"""Screening of crystals: sources, filters, classifiers, selection for DFT, evaluation, result tables and reports."""
