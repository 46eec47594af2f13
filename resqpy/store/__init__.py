"""Redis: connections, scripts, and one small file per kind of data. Nothing above talks to Redis directly."""
