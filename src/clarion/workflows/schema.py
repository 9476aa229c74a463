"""Checks event data against `data_schema`, with the compiled validator kept. Nothing is fetched for a `$ref`.

A validator can't be stopped: `clarion.workflows.checks` says where it may run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow
from clarion.workflows.problems import shown
from clarion.workflows.weight import MOST, weight_of

if TYPE_CHECKING:  # else only whoever has schemas pays for the engine's memory
    import jsonschema_rs

#: Validators by the identity of their schema; each entry holds its schema, so that the identity stays its own.
_kept: dict[int, tuple[dict[str, Any], jsonschema_rs.Validator]] = {}
_MAX_KEPT = 2_048


def compile_schema(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The validator of a JSON schema. Raises ValueError with the mend, also where checking could take for ever.

    Patterns run on an engine that can't be made to backtrack, values don't show in messages.
    """

    if (weight_of(schema) or 0) > MOST:
        raise ValueError(
            f"its alternatives, references and patterns multiply to over {MOST:,} checks for each value: write what an "
            "event must have (type, required, properties), each once, and leave the rest to the application"
        )
    return _compiled(schema)


def _compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            schema, offline=True, mask="the value", pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        path = shown(tuple(getattr(error, "instance_path", ())))
        message = str(getattr(error, "message", error))
        raise ValueError(f"not a valid JSON schema{f' at {path}' if path else ''}: {message}") from error


def check_data(workflow: Workflow, data: dict[str, Any]) -> None:
    """Raises Invalid (`invalid_data`), with the path and the reason, if `data` doesn't fit the workflow's schema.

    Takes as long as it takes.
    """
    if workflow.data_schema is not None and (wrong := judge(workflow.data_schema, data)) is not None:
        raise misfit(workflow, *wrong)


def fits(schema: dict[str, Any], data: dict[str, Any]) -> bool:
    """Whether data fit a schema: much less work than to tell why not."""
    return _validator(schema).is_valid(data)


def judge(schema: dict[str, Any], data: dict[str, Any], *, keep: bool = True) -> tuple[str, str] | None:
    """Where `data` doesn't fit a schema and why; None: it fits. `keep`: the same schema will be asked about again."""
    import jsonschema_rs

    try:
        (_validator(schema) if keep else _compiled(schema)).validate(data)
    except jsonschema_rs.ValidationError as error:  # the first: `iter_errors` makes all of them, each with its value
        return shown(("data", *error.instance_path)), error.message
    return None


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The compiled schema, which is kept."""
    found = _kept.get(id(schema))
    if found is None:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        found = _kept[id(schema)] = (schema, _compiled(schema))
    return found[1]


def misfit(workflow: Workflow, where: str, reason: str) -> Invalid:
    """What is told of data that doesn't fit."""
    return Invalid("invalid_data", f"{where}: {reason} (data_schema of workflow {workflow.key})", where)
