"""A project at work: initializers in their order, signals, probes and metrics, and the program around it."""
