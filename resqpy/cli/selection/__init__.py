"""Commands that change many things: which ones are meant, the question, the change, and the report of it."""
