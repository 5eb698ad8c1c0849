"""The configuration: YAML, environment and flags become immutable settings, or a list of mistakes.

This module is empty, so that importing one module loads no other. Start reading at `exporter.config.load.load`.
"""
