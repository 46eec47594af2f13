"""Logs: their configuration, the thread that writes them, and the lines that workers and schedulers emit."""
