"""Workflows to begin with: `copy_samples` puts them into a folder where nobody has any yet."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

#: What is copied; everything a workflow names is beside it.
_SUFFIXES = (".yaml", ".mjml")


def copy_samples(folder: Path) -> list[Path]:
    """Writes the samples into `folder`, making it if need be; a folder that holds anything is left alone.

    Gives the files written.
    """
    if folder.exists() and any(folder.iterdir()):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sorted(resources.files(__name__).iterdir(), key=lambda one: one.name):
        if source.name.endswith(_SUFFIXES):
            target = folder / source.name
            target.write_bytes(source.read_bytes())
            written.append(target)
    return written
