"""The programs that are measured on our side; each has its like in `node/`."""
