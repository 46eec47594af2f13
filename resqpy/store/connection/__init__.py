"""How Redis is reached: addresses, connections, commands and scripts, notifications, translated errors."""
