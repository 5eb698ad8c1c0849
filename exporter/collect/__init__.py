"""Polling: when, how much, and what may still be served. The only mutable cells of the data's way are here."""
