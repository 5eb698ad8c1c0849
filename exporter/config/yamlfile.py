"""YAML documents, each key once."""

from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from exporter.errors import ConfigError
from exporter.redact import quoted, redact


class _Loader(yaml.SafeLoader):
    """Refuses a key that appears twice in one mapping; YAML libraries silently keep the last one."""

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value} appears twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, ScalarNode) else None)
        return node


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML (or JSON) document; None when it is empty.

    Raises:
        ConfigError: `text` is not one well-formed document; says where in it.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem or error.context or ""
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        place, problem = "", str(error)  # a control character, an impossible date, a tag unfit for its value
    detail = quoted(redact(problem.partition("\n")[0]))[1:-1]
    raise ConfigError([f"{where}{place}: found malformed YAML ({detail}); allowed: YAML with each key once"])


def read(path: Path) -> str:
    """The text of a YAML file.

    Raises:
        ConfigError: it is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        words = "a directory" if isinstance(error, IsADirectoryError) else error.strerror
        problem = (words or "an unreadable file").lower()
    except UnicodeDecodeError as error:
        problem = f"invalid UTF-8 at byte {error.start}"
    raise ConfigError([f"{path}: found {problem}; allowed: a readable YAML file"])
