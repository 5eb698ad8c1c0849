"""The configuration: YAML, environment and flags become frozen settings, or a list of mistakes.

Empty, so that importing one module loads no other; start reading at `exporter.config.load.load`.
"""
