"""Polling: when, how much, and what may still be served. The only mutable state of the data flow is here."""
