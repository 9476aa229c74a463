"""Makes the reference parts of the documents from the code: `make docs`, or `python docs/build.py`.

What stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in a document is written here and nowhere else.
tests/docs holds that it is up to date. Nothing here starts a server or opens a database.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from clarion.bootstrap import Clarion
from clarion.deliveries.interface import HttpProvider, Provider
from clarion.deliveries.providers import available_kinds, class_of
from clarion.model.words import SENTENCES, Channel, Role
from clarion.security.roles import allows
from clarion.settings import load
from clarion.web.access import OPEN, PERMISSIONS, RECIPIENT_ROUTES
from clarion.web.app import create_app

DOCS: Final = Path(__file__).parent
_MODEL = DOCS.parent / "src/clarion/model/words.py"
_BLOCK = re.compile(r"(<!-- begin (?P<name>\w+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)
_METHODS: Final = ("get", "put", "patch", "post", "delete")

Json = Mapping[str, Any]


def documents() -> Iterator[tuple[Path, str]]:
    """Every document with generated parts, and what it should say."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        if _BLOCK.search(text):
            yield path, _BLOCK.sub(_filled, text)


def _filled(block: re.Match[str]) -> str:
    return f"{block[1]}\n{MAKERS[block['name']]().strip()}\n\n{block[3]}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- words ------------------------------------------------------------------------------------------------------------


def _reasons() -> str:
    return _table(("reason", "what people read"), [(f"`{r.value}`", sentence) for r, sentence in SENTENCES.items()])


def _meanings(class_name: str) -> str:
    """The members of an enum with the meanings that stand beside them."""
    text = _MODEL.read_text().partition(f"class {class_name}(")[2].partition("\nclass ")[0]
    found = re.findall(r'^    [A-Z_]+ = "(\w+)"(?:  #: (.*))?$', text, re.MULTILINE)
    return _table(("word", "meaning"), [(f"`{word}`", meaning) for word, meaning in found])


# --- settings ---------------------------------------------------------------------------------------------------------


def _settings() -> str:
    text = resources.files("clarion").joinpath("default.toml").read_text()
    sections: dict[str, list[tuple[str, ...]]] = {"": []}
    section, said = "", list[str]()
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            sections[section] = []
        elif line.startswith("#"):
            said.append(line.lstrip("# "))
        elif " = " in line:
            sections[section].append(_setting(section, line, " ".join(said)))
            said = []
        else:
            said = []
    head = ("setting", "default", "environment", "meaning")
    return "\n\n".join(
        (f"### [{name}]\n\n" if name else "### Outside a section\n\n") + _table(head, rows)
        for name, rows in sections.items()
    )


def _setting(section: str, line: str, meaning: str) -> tuple[str, ...]:
    ((key, value),) = tomllib.loads(line).items()
    shown = {True: "`true`", False: "`false`", "": "(empty)"}.get(value) if isinstance(value, (bool, str)) else None
    name = f"CLARION_{section}__{key}" if section else f"CLARION_{key}"
    return f"`{key}`", shown or f"`{value}`", f"`{name.upper()}`", meaning


# --- providers --------------------------------------------------------------------------------------------------------


def _providers() -> str:
    head = (
        "kind",
        "channels",
        "reaches",
        "at most",
        "in one call",
        "at once",
        "receipts",
        "drops repeats",
        "takes back",
    )
    return _table(head, [_provider(kind, class_of(kind)) for kind in available_kinds()])


def _provider(kind: str, made: type[Provider]) -> tuple[str, ...]:
    every = len(made.channels) >= len(Channel) - 1
    channels = ("all" if len(made.channels) == len(Channel) else "all but `in_app`") if every else _names(made.channels)
    limits = made.limits
    most = [_size(limits.max_body_bytes), *(f"{part} {chars:,} characters" for part, chars in limits.max_chars.items())]
    yes = {True: "yes", False: ""}
    recalls = issubclass(made, HttpProvider) and made.recall_for is not HttpProvider.recall_for
    return (
        f"`{kind}`", channels, _names(made.kinds) or "any", ", ".join(most), str(limits.batch), str(made.max_in_flight),
        yes[made.sends_receipts], yes[made.idempotent], yes[recalls],
    )  # fmt: skip


def _names(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


def _size(count: int) -> str:
    return f"{count / 1_048_576:.3g} MB" if count >= 1_000_000 else f"{count:,} bytes"


# --- HTTP -------------------------------------------------------------------------------------------------------------


def _openapi() -> Json:
    settings = load(Path(str(resources.files("clarion").joinpath("default.toml"))), {})
    # The routes are made before anything is opened: of the application they need no more than this.
    return create_app(cast("Clarion", SimpleNamespace(settings=settings))).openapi()


def _http() -> str:
    document = _openapi()
    groups: dict[str, list[str]] = {}
    shapes: dict[str, None] = {}
    for path, calls in document["paths"].items():
        for method in _METHODS:
            if call := calls.get(method):
                text = _call(method.upper(), path, call, document["components"]["schemas"], shapes)
                groups.setdefault(call["tags"][0] if call.get("tags") else "pages", []).append(text)
    parts = [f"## {name.capitalize()}\n\n" + "\n\n".join(texts) for name, texts in sorted(groups.items())]
    return "\n\n".join([*parts, _shapes(document["components"]["schemas"], shapes)])


def _call(method: str, path: str, call: Json, schemas: Json, shapes: dict[str, None]) -> str:
    lines = [f"### `{method} {path}`", call.get("description") or f"{call['summary']}.", _who(method, path)]
    rows = [
        (f"`{p['name']}`", p["in"], _kind(p["schema"], shapes), p.get("description", ""))
        for p in call.get("parameters", [])
        if p["in"] != "path"
    ]
    if rows:
        lines.append(_table(("parameter", "in", "type", "meaning"), rows))
    bodies = call.get("requestBody", {}).get("content", {}).values()
    lines += [_fields("body", _resolved(content["schema"], schemas), shapes) for content in bodies]
    good = sorted(status for status in call["responses"] if status.startswith(("2", "3")))
    return "\n\n".join([*(line for line in lines if line), f"Answers {', '.join(good)}."])


def _who(method: str, path: str) -> str:
    if purposes := RECIPIENT_ROUTES.get((method, path)):
        return "Who: a recipient token for " + " or ".join(f"`{p.value}`" for p in purposes) + "."
    if path in OPEN:
        return "Who: everybody, no key needed."
    permission = PERMISSIONS[method, path]
    return "Who: " + ", ".join(f"`{role.value}`" for role in Role if allows(role, permission)) + "."


def _resolved(schema: Json, schemas: Json) -> Json:
    reference = schema.get("$ref")
    found: Json = schemas[reference.rpartition("/")[2]] if reference else schema
    return found


def _fields(name: str, schema: Json, shapes: dict[str, None]) -> str:
    if "properties" not in schema:
        return ("One of " if "enum" in schema else f"The {name}: ") + f"{_kind(schema, shapes)}."
    required = schema.get("required", ())
    rows = [
        (f"`{field}`" + (" (required)" if field in required else ""), _kind(s, shapes), s.get("description", ""))
        for field, s in schema["properties"].items()
    ]
    return _table((name, "type", "meaning"), rows)


def _kind(schema: Json, shapes: dict[str, None]) -> str:
    """A schema in a few words; what it refers to is noted in `shapes`."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        shapes[name] = None
        return f"[{name}](#{name.lower()})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_kind(s, shapes) for s in schema[word]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array":
        most = f" (at most {schema['maxItems']:,})" if "maxItems" in schema else ""
        return f"list of {_kind(schema.get('items', {}), shapes)}{most}"
    return {"object": "object", "null": "null"}.get(kind, str(kind))


def _shapes(schemas: Json, shapes: dict[str, None]) -> str:
    """The named shapes that were referred to, and those that they refer to."""
    done: dict[str, str] = {}
    while todo := [name for name in shapes if name not in done]:
        for name in todo:
            schema = schemas[name]
            lines = (f"### {name}", schema.get("description", ""), _fields("field", schema, shapes))
            done[name] = "\n\n".join(line for line in lines if line)
    return "\n\n".join(["## Shapes", *(done[name] for name in sorted(done))])


#: What stands in a block, by its name.
MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "reasons": _reasons,
    "states": lambda: _meanings("DeliveryState"),
    "outcomes": lambda: _meanings("OutcomeKind"),
    "receipts": lambda: _meanings("ReceiptEvent"),
    "standings": lambda: _meanings("ProviderStanding"),
    "settings": _settings,
    "providers": _providers,
    "http": _http,
}


if __name__ == "__main__":
    for document, wanted in documents():
        document.write_text(wanted)
