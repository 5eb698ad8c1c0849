"""The running service: how its parts are assembled, which teams there are, and how a new configuration takes over."""
