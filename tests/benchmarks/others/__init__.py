"""What is measured beside us: the same program for each library, in the way of its own first page."""
