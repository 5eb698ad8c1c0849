"""The running service: what is made of what, which teams there are, and how a new configuration takes over."""
