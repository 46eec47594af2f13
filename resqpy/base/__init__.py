"""Names, payloads, time and errors. Nothing here does I/O."""
