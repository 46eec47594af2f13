"""Commands that keep the terminal: `resqpy top`, `resqpy console`, `resqpy task watch`."""
