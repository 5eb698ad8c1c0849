"""The running service: how its parts are assembled, which teams are polled, and how a new configuration is applied."""
