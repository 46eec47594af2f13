"""What user code calls: `api` with `tasks`, `resque` and `tracked`, and the same verbs without an event loop."""
