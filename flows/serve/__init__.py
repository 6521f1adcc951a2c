"""Prefect: deployments, the process that serves them, its server, and the watcher."""
