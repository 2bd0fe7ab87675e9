"""Says of YAML files whether a JSON Schema takes them: validate.py SCHEMA FILE...

Prints a line for each file: `valid NAME`, `refused NAME: why`, or `unreadable NAME` where it is not YAML. Plain values
get the types of YAML 1.2, as in editors: `off` and `yes` are texts.
"""
import json
import os
import re
import sys

import jsonschema
import yaml


class Loader(yaml.SafeLoader):
    """YAML 1.2: other resolvers of plain values than PyYAML's, which are those of YAML 1.1."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node, deep=False):
        """Keys are texts, as in JSON."""
        self.flatten_mapping(node)
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise yaml.YAMLError("a key is no text")
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


def construct_map(loader, node):
    return loader.construct_mapping(node)


Loader.add_constructor("tag:yaml.org,2002:map", construct_map)
for tag, form, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    Loader.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(f"^(?:{form})$"), list(first))

Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 0 if node.value[1:2] in "ox" else 10))


def judge(validator, path):
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            tree = yaml.load(file, Loader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return f"unreadable {name}"
    error = jsonschema.exceptions.best_match(validator.iter_errors({} if tree is None else tree))
    return f"valid {name}" if error is None else f"refused {name}: {error.json_path}: {error.message[:200]}"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in sys.argv[2:]:
        print(judge(validator, path))


main()
