"""Cron expressions: their fields, days and time zones, and how Ruby's scheduler (rufus) reads them."""
