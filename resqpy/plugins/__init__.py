"""The built-in plugins, by the names node-resque has for them."""
