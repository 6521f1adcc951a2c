"""One calculation: from a crystal to its document, and as a jobflow flow."""
