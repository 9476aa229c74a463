"""Checks event data against `data_schema`, with the compiled validator kept. Nothing is fetched for a `$ref`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clarion.model.errors import Invalid
from clarion.model.workflow import Workflow
from clarion.workflows.problems import shown

if TYPE_CHECKING:  # else only whoever has schemas pays for the engine's memory
    import jsonschema_rs

#: Validators by the identity of their schema; each entry holds its schema, so that the identity stays its own.
_kept: dict[int, tuple[dict[str, Any], jsonschema_rs.Validator]] = {}
_MAX_KEPT = 2_048


def compile_schema(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The validator of a JSON schema. Raises ValueError with the mend.

    Patterns run on an engine that can't be made to backtrack, values don't show in messages.
    """
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
    """Raises Invalid (`invalid_data`), with the path and the reason, if `data` doesn't fit the workflow's schema."""
    schema = workflow.data_schema
    if schema is None:
        return
    found = _kept.get(id(schema))
    if found is None:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        found = _kept[id(schema)] = (schema, compile_schema(schema))
    validator = found[1]
    if validator.is_valid(data):
        return
    error = next(iter(validator.iter_errors(data)))
    where = shown(("data", *error.instance_path))
    raise Invalid("invalid_data", f"{where}: {error.message} (data_schema of workflow {workflow.key})", where)
