"""The ground floor: names, bytes, time and errors. Nothing here does I/O."""
