"""The command line. Each command is a module of `commands/`, imported only when it is called."""
