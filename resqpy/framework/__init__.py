"""Tasks, their loader, config, initializers and the process: what a project consists of."""
