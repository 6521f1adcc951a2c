"""Prefect: deployments, the process that serves them, its server, the watcher, and artifacts for the UI."""
