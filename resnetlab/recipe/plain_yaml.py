"""YAML of plain values: what a recipe is written in."""

from typing import Any

import yaml

LETTERS = 200  # of what was found, in a message


class PlainLoader(yaml.SafeLoader):
    """YAML of plain values, in which no key stands twice and nothing is repeated by reference."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read one value. A few references can stand for more than a machine can hold."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (*) are not allowed, write the values out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read one mapping. PyYAML itself would take the last value of a key that stands twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"key '{key.value}' stands twice, keep one of them"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Read YAML of plain values. Raises ValueError that says in one line what is wrong."""
    try:
        return yaml.load(text, PlainLoader)
    except Exception as error:  # PyYAML lets out what a value's tag or its depth leads to
        why = " ".join(str(error).split()).replace('"<unicode string>", ', "")
        raise ValueError(f"{why:.{LETTERS}}") from error


def parse_value(text: str) -> Any:
    """Read one YAML value, with '1e-3' as a number."""
    return as_number(read_yaml(text))


def as_number(value: Any) -> Any:
    """Return a word that Python takes for a number as that number: YAML 1.1 reads '1e-3' as a word."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value
