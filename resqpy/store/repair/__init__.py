"""What has gone wrong in Redis is found by walks, moved aside, and what a repair changed can be undone."""
