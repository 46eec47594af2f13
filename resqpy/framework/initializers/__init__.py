"""Resqpy's own initializers: Redis, then the queue with worker and scheduler, then `api.tasks`."""
