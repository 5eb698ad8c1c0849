"""The Cyberun Cloud API: one GET at a time, within limits, and the closed set of reasons why it failed."""
