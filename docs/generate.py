"""Write the reference of verbs and of recipe keys from the code: `python docs/generate.py`.

A test fails where the pages in docs/reference are not what this writes.
"""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resnetlab import errors
from resnetlab.cli.app import app
from resnetlab.recipe import AUGMENT_PRESETS, Choice, Range, Recipe

FOLDER = Path(__file__).parent / "reference"
NAMES = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true`, `false`",
    Path: "path",
    NoneType: "`null`",
    Any: "any value",
}
BOUNDS = {
    Ge: ("ge", "{} or more"),
    Gt: ("gt", "above {}"),
    Le: ("le", "{} at most"),
    Lt: ("lt", "below {}"),
}
GENERATED = "<!-- Written by docs/generate.py from the code: change it there. -->\n"


def pages() -> dict[str, str]:
    """Return the text of each generated page by its name."""
    return {"verbs.md": verbs_page(), "recipe.md": recipe_page()}


def verbs_page() -> str:
    """Return the reference of all verbs: usage, arguments, options; then the exit codes."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# Verbs\n\n" + GENERATED,
        "What `resnetlab --help` and `resnetlab VERB --help` say. `--debug`, anywhere on the line, shows the "
        "traceback of an error. Recipe keys, for `--set`, are [a page of their own](recipe.md); the same "
        "verbs in Python are [another](python.md).\n",
    ]
    parts += [verb_section(name, command) for name, command in group.commands.items()]
    return "\n".join([*parts, exit_codes()])


def verb_section(name: str, command: Any) -> str:
    """Return heading, sentence, usage and tables of one verb."""
    types = {key: value_type(each) for key, each in get_type_hints(command.callback).items()}
    given = [each for each in command.params if each.name in types]
    arguments = [each for each in given if each.param_type_name == "argument"]
    options = [each for each in given if each.param_type_name == "option"]
    usage = ["resnetlab", name, *map(usage_of, arguments), *["[OPTIONS]"][: len(options)]]
    lines = [
        f"## {name}\n\n{inspect.cleandoc(command.help)}\n",
        f"```text\n{' '.join(usage)}\n```\n",
    ]
    if arguments:
        rows = [
            (f"`{each.name.upper()}`", words_of(types[each.name]), each.help) for each in arguments
        ]
        lines.append(table(("argument", "value", "what"), rows))
    if options:
        rows = [option_row(each, types[each.name]) for each in options]
        lines.append(table(("option", "value", "unless given", "what"), rows))
    return "\n".join(lines)


def value_type(annotation: Any) -> Any:
    """Return what an argument takes: None only means that it was left out."""
    rest = tuple(each for each in get_args(annotation) if each is not NoneType)
    return Union[rest] if NoneType in get_args(annotation) else annotation  # noqa: UP007


def usage_of(argument: Any) -> str:
    """Return an argument as a usage line shows it."""
    several = "..." if argument.nargs == -1 else ""
    word = argument.name.upper() + several
    return word if argument.required else f"[{word}]"


def option_row(option: Any, annotation: Any) -> tuple[str, ...]:
    """Return names, value, default and meaning of an option."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        default = f"`{option.opts[0]}`" if option.default else ""
        return names, "", default, option.help
    kind, bounds = words_of(annotation), [option.min, option.max]
    if bounds[0] is not None:
        high = "" if bounds[1] is None else f" to {bounds[1]}"
        kind += f", {bounds[0]}{high or ' or more'}"
    default = "" if option.default in (None, ()) else f"`{option.default}`"
    return names, kind, default, option.help


def exit_codes() -> str:
    """Return the table of exit codes, from the errors that have one."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    ]
    codes = {kind.exit_code: kind.__doc__ for kind in kinds if hasattr(kind, "exit_code")}
    codes |= {
        0: "All went well, or the time given by `--budget` or `--stop-at` was up.",
        1: "A fault in resnetlab.",
        130: "Interrupted, by Ctrl-C; what was finished is kept.",
        143: "Terminated, by SIGTERM; what was finished is kept.",
    }
    rows = [(str(code), codes[code].strip()) for code in sorted(codes)]
    return "## Exit codes\n\n" + table(("code", "what"), rows)


def recipe_page() -> str:
    """Return the reference of all recipe keys, section by section."""
    parts = [
        "# Recipe keys\n\n" + GENERATED,
        "A recipe is everything that decides a result: a YAML file, given by `--recipe FILE`, or a shipped one "
        "by its name. `--set KEY=VALUE` changes one key. What is not said has the value under 'unless given', "
        "and `recipe.yaml` in the folder of a run has all of it, with no `auto` left. `null` means: none.\n",
        "```yaml\n"
        "training:\n  epochs: 12\n  optimizer: adamw\ndata:\n  augment: {preset: photo, rotation_deg: 10}\n"
        "```\n",
        "is the same as `--set training.epochs=12 --set training.optimizer=adamw --set "
        "data.augment.preset=photo --set data.augment.rotation_deg=10`.\n",
        keys_table(Recipe, "", skip=Recipe.model_fields.keys() - {"seed"}),
    ]
    for name, field in Recipe.model_fields.items():
        for section in sections_in(field.annotation):
            parts += section_parts(section, f"{name}.", 2)
    parts.append(
        "## A searched setting\n\nUnder `tuning.space`, by dotted key: values, or a range.\n"
    )
    parts += [keys_table(kind, "") for kind in (Choice, Range)]
    return "\n".join(parts)


def section_parts(section: type[BaseModel], prefix: str, level: int) -> list[str]:
    """Return heading, sentence and table of a section of the recipe, then those within it."""
    said = inspect.cleandoc(section.__doc__ or "").replace("None", "`null`")
    parts = [f"{'#' * level} {prefix.removesuffix('.')}\n\n{said}\n", keys_table(section, prefix)]
    for name, field in section.model_fields.items():
        for inner in sections_in(field.annotation):
            parts += section_parts(inner, f"{prefix}{name}.", level + 1)
            if name == "augment":
                parts.append(presets_table())
    return parts


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a key may hold."""
    options = (annotation, *get_args(annotation))
    return [each for each in options if isinstance(each, type) and issubclass(each, BaseModel)]


def presets_table() -> str:
    """Return the presets of augmentation with what they set."""
    rows = []
    for name, values in AUGMENT_PRESETS.items():
        shown = ", ".join(f"`{key}` {value_words(value)}" for key, value in values.items())
        rows.append((f"`{name}`", shown or "nothing"))
    return table(("preset", "sets"), rows)


def keys_table(section: type[BaseModel], prefix: str, skip: Any = ()) -> str:
    """Return the table of a section's keys. Raises KeyError for one that no comment describes."""
    said = descriptions(section)
    rows = [
        (f"`{prefix}{name}`", kind_of(field), default_of(field), said[name])
        for name, field in section.model_fields.items()
        if name not in skip
    ]
    return table(("key", "value", "unless given", "what"), rows)


def kind_of(field: FieldInfo) -> str:
    """Return in words what a key takes."""
    return words_of(
        Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    )


def default_of(field: FieldInfo) -> str:
    """Return a key's default as YAML has it; a section has none of its own."""
    if field.is_required():
        return ""
    value = field.get_default()
    return "" if isinstance(value, BaseModel) else f"`{value_words(value)}`"


def value_words(value: Any) -> str:
    """Return a value as YAML has it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(value_words(each) for each in value)}]"
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, bool | NoneType):
        return words[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def words_of(annotation: Any) -> str:
    """Return in words what an annotation allows."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return bounded(words_of(inner[0]), inner[1:])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return "; ".join(dict.fromkeys(words_of(each) for each in inner))
    if origin is list:
        return f"{words_of(inner[0])}, one or more"
    if origin is tuple:
        each = words_of(inner[0])
        return f"list of {each}" if inner[-1] is ... else f"{len(inner)} × {each}"
    if origin is dict:
        return f"mapping of names to {words_of(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys of its own"
    return NAMES[annotation]


def bounded(words: str, metadata: tuple[Any, ...]) -> str:
    """Return words for a type with its bounds."""
    found = {}
    for each in metadata:
        for single in getattr(each, "metadata", [each]):
            if type(single) in BOUNDS:
                name, form = BOUNDS[type(single)]
                found[name] = form.format(
                    f"{getattr(single, name):g}".replace("4.29497e+09", "2^32")
                )
    if {"ge", "le"} <= found.keys():
        low, high = found["ge"].removesuffix(" or more"), found["le"].removesuffix(" at most")
        return f"{words}, {low} to {high}"
    return ", ".join([words, *found.values()])


def descriptions(section: type[BaseModel]) -> dict[str, str]:
    """Return what the comments at a section's keys say: above a key, and behind it."""
    base = section.__base__
    found = descriptions(base) if base and base.__module__ == section.__module__ else {}
    source = textwrap.dedent(inspect.getsource(section))
    lines = source.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {each.start[0]: each.string for each in tokens if each.type == tokenize.COMMENT}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above = node.lineno - 1
        while lines[above - 1].strip().startswith("#"):
            above -= 1
        here = [
            comments[line]
            for line in range(above + 1, (node.end_lineno or above) + 1)
            if line in comments
        ]
        if here:
            text = re.sub(r"\bNone\b", "null", " ".join(each.lstrip("# ") for each in here))
            found[node.target.id] = sentence(text, section)
    return found


def sentence(text: str, section: type[BaseModel]) -> str:
    """Return a comment as a sentence, which may begin with a key or a value as it is written."""
    first = text.split()[0]
    if not first.endswith((":", ",")) and first not in section.model_fields:
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def table(heads: tuple[str, ...], rows: Any) -> str:
    """Return a table in Markdown."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [" | ".join(row) for row in [heads, ["---"] * len(heads), *cells]]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
