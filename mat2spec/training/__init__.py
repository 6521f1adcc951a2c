"""Training: data in, weights with their card out."""
