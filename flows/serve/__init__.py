"""Prefect: deployments, the process that serves them, its server, the watcher, and what the UI shows."""
