"""Queues, workers, schedulers: what runs jobs. Knows nothing of projects, files or configuration."""
