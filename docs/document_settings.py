"""Write ``docs/settings.md`` from the classes of settings, or check that it is current with ``--check``."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from semface.access.settings import AccessSettings
from semface.cli.stack import StackSettings
from semface.codec.settings import CodecSettings
from semface.extraction.settings import ExtractionSettings
from semface.gateway.settings import GatewaySettings
from semface.rpc.settings import ServerSettings
from semface.tracing.settings import TracingSettings
from semface.understanding.settings import UnderstandingSettings

PAGE = Path(__file__).with_name("settings.md")
HEADER = """# Settings

Made from the classes of settings by `make docs`; change the descriptions there. Each is an environment variable. `up`
is `semface up`, all the others in one process; it finds its own services whatever their addresses say. The others are
run by `semface serve NAME`. Commands that need no server (`analyze`, `encode`, `verify` …) read those of extraction.

| variable | value | default | read by | meaning |
|---|---|---|---|---|
"""

READERS: dict[type[BaseSettings], tuple[str, ...]] = {
    AccessSettings: ("extraction", "codec", "understanding", "gateway", "up"),
    TracingSettings: ("extraction", "codec", "understanding", "gateway", "up"),
    ServerSettings: ("extraction", "codec", "understanding", "up"),
    ExtractionSettings: ("extraction", "up"),
    CodecSettings: ("codec", "up"),
    UnderstandingSettings: ("understanding", "up"),
    GatewaySettings: ("gateway", "up"),
    StackSettings: ("up",),
}
"""Who reads the fields that a class adds to those it inherits."""

NAMES = {"integer": "integer", "number": "number", "boolean": "true or false", "array": "texts between commas"}


def own_fields(settings: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields that ``settings`` adds to those it inherits."""
    inherited = {name for base in settings.__mro__[1:] for name in getattr(base, "model_fields", {})}
    yield from ((name, field) for name, field in settings.model_fields.items() if name not in inherited)


def value_text(schema: dict[str, Any]) -> str:
    """Return what a variable may hold, from the JSON schema of its field."""
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    schema = choices[0]
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    name = NAMES.get(schema["type"], "path" if schema.get("format") == "path" else "text")
    bounds = (("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"))
    return ", ".join([name, *(f"{word} {schema[key]}" for key, word in bounds if key in schema)])


def default_text(field: FieldInfo) -> str:
    """Return the default of ``field`` as one would set it; a dash where it is unset or found at the start."""
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if field.default_factory is not None or default is None or default == ():
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row; what two classes say alike is one row."""
    readers_of: dict[tuple[str, ...], dict[str, None]] = {}
    for settings, readers in READERS.items():
        prefix = settings.model_config["env_prefix"]
        schemas = settings.model_json_schema()["properties"]
        for name, field in own_fields(settings):
            said = (
                f"`{prefix}{name.upper()}`",
                value_text(schemas[name]),
                default_text(field),
                field.description or "",
            )
            readers_of.setdefault(said, {}).update(dict.fromkeys(readers))
    for (variable, value, default, meaning), names in readers_of.items():
        yield variable, value, default, ", ".join(names), meaning


def page(cells: Iterable[tuple[str, ...]]) -> str:
    """Return the whole page."""
    return HEADER + "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in cells)


def main() -> None:
    """Write the page, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed page is not current")
    fresh = page(rows())
    if not parser.parse_args().check:
        PAGE.write_text(fresh, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh:
        sys.exit(f"docs/{PAGE.name} is not current, run `make docs`")


if __name__ == "__main__":
    main()
