"""What a Prefect server knows of a run beside its folder: artifacts, links, states, concurrency limits and announcements."""
