"""Tasks and agents in our own terms: immutable values and pure functions. Time is always an argument."""
