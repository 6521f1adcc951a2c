"""Training: from data to weights with a model card."""
