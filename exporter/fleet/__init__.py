"""Tasks and agents in our own words: values and pure functions. Time comes in as an argument."""
