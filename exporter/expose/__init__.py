"""Renders values as the bytes of an exposition. Every name, label and help text comes from the catalogue."""
