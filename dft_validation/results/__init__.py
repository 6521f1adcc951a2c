"""What calculations come to: documents, failures, their cache and their tables."""
