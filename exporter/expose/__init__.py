"""Renders values as the bytes of an exposition. All names, labels and help texts come from the catalogue."""
