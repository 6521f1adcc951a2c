"""The Materials Project's open data: Delta tables that need no API key."""
