"""From values to the bytes of a scrape. Every name, label and help text comes from the catalogue."""
