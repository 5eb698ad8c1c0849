"""The configuration: YAML, environment and flags become frozen settings, or a list of mistakes.

Empty, so that who needs one module loads no other: `exporter.config.load.load` is where to begin.
"""
