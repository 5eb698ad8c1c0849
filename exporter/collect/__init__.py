"""Polling: when, how much, and which data may still be served. The only mutable state of the data flow is here."""
