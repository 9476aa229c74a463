"""Loads a folder of workflow files: `*.yaml`, their locales beside them, and the templates they name.

`comment_reply.de.yaml` holds what differs in German from `comment_reply.yaml`: see `clarion.workflows.locales`. A part
(`html`, `mjml`, `text`) may name a file of the folder. What comes out is self-contained. Nothing outside the folder is
read, and nothing is written.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, NamedTuple

from clarion.model.workflow import Workflow
from clarion.templates.tokens import MAX_SOURCE
from clarion.workflows.definition import parse
from clarion.workflows.locales import LOCALE
from clarion.workflows.mail_steps import MAX_FILE, named_files, put_in
from clarion.workflows.problems import Place, Problem, WorkflowErrors, shown
from clarion.workflows.texts import names_file, text_paths
from clarion.workflows.yaml_source import Document, Unreadable, read_yaml

MAX_FILES = 2_000
#: Stands for a text that couldn't be read, so that nothing else is reported of it.
_STAND_IN = {"mjml": "<mjml><mj-body></mj-body></mjml>"}


class LoadedFile(NamedTuple):
    """One workflow: its file, its self-contained plain form (what is stored), and what that says."""

    path: FilePath
    plain: dict[str, Any]
    workflow: Workflow


def load_folder(folder: FilePath) -> list[LoadedFile]:
    """All workflows of a folder, in the order of their file names; none if there is no such folder.

    Raises WorkflowErrors with every problem of every file, a line each: `file:line: path: message`.
    """
    if not folder.is_dir():
        return []
    reading = _Reading(folder)
    loaded = reading.load()
    if reading.problems:
        raise WorkflowErrors(reading.problems)
    return loaded


class _Reading:
    """One go through a folder."""

    def __init__(self, folder: FilePath) -> None:
        self.folder = folder
        self.problems: list[Problem] = []

    def load(self) -> list[LoadedFile]:
        paths = sorted(path for path in self.folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
        if len(paths) > MAX_FILES:
            self.problems.append(
                Problem("", None, f"{len(paths)} files: at most {MAX_FILES:,} are read", str(self.folder))
            )
        documents = {path: document for path in paths[:MAX_FILES] if (document := self._document(path)) is not None}
        locales = {path: base for path in documents if (base := self._base_of(path, documents[path])) is not None}
        for path, base in locales.items():
            self._add_locale(path, base, documents)
        loaded = [self._workflow(path, document) for path, document in documents.items() if path not in locales]
        done = [one for one in loaded if one is not None]
        self._refuse_twins(done)
        return done

    def _document(self, path: FilePath) -> Document | None:
        try:
            return read_yaml(path.read_bytes(), path.name)
        except Unreadable as error:
            self.problems.append(error.problem)
        except OSError as error:
            self.problems.append(Problem("", None, f"can't be read: {error.strerror}", path.name))
        return None

    def _base_of(self, path: FilePath, document: Document) -> str | None:
        """The stem of the workflow file that `path` is a locale of; None if it is a workflow itself."""
        base, dot, locale = path.stem.rpartition(".")
        is_workflow = isinstance(document.plain, dict) and "on" in document.plain
        return base if dot and LOCALE.fullmatch(locale) and not is_workflow else None

    def _add_locale(self, path: FilePath, base: str, documents: dict[FilePath, Document]) -> None:
        found = next((documents[other] for other in documents if other.stem == base), None)
        if found is None:
            if not any(self.folder.joinpath(base + suffix).exists() for suffix in (".yaml", ".yml")):
                message = f"there is no {base}.yaml beside it that this could be a locale of: rename one of them"
                self.problems.append(Problem("", None, message, path.name))
            return
        texts = documents[path].plain
        if not isinstance(texts, dict) or not isinstance(found.plain, dict):
            self.problems.append(Problem("", 1, "a locale is a mapping of `name` and `steps`", path.name))
            return
        if texts.get("key") == found.plain.get("key"):
            texts.pop("key", None)
        locale = path.stem.rpartition(".")[2]
        locales = found.plain.setdefault("locales", {})
        if not isinstance(locales, dict) or locale in locales:
            message = f"the locale {locale} stands in {base}.yaml already: leave one out"
            self.problems.append(Problem("", 1, message, path.name))
            return
        locales[locale] = texts
        for inside, place in documents[path].places.items():
            found.places["locales", locale, *inside] = place

    def _workflow(self, path: FilePath, document: Document) -> LoadedFile | None:
        before = len(self.problems)
        if isinstance(document.plain, dict):
            self._put_texts_in(document)
            self._put_files_in(document)
        try:
            workflow = parse(document.plain, places=document.places)
        except WorkflowErrors as errors:
            self.problems += errors.problems
            return None
        return None if len(self.problems) > before else LoadedFile(path, document.plain, workflow)

    def _put_texts_in(self, document: Document) -> None:
        """Replaces the names of template files by what they hold."""
        for path, step, part in text_paths(document.plain):
            name = step[part]
            if names_file(name):
                try:
                    step[part] = self._text_of(name)
                except ValueError as error:
                    place = document.places[path]
                    self.problems.append(Problem(shown(path), place.line, str(error), place.file))
                    step[part] = _STAND_IN.get(part, "-")
                    continue
                document.places[path] = Place(name, 1, 1)

    def _put_files_in(self, document: Document) -> None:
        """Replaces the names of files to attach by what they hold."""
        for path, file in named_files(document.plain):
            content = b"-"
            try:
                content = self._content_of(file["file"], MAX_FILE)
            except ValueError as error:
                place = document.places[(*path, "file")]
                self.problems.append(Problem(shown(path), place.line, str(error), place.file))
            put_in(file, content)

    def _text_of(self, name: str) -> str:
        try:
            return self._content_of(name, MAX_SOURCE).decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} isn't UTF-8: save it as UTF-8") from error

    def _content_of(self, name: str, most: int) -> bytes:
        folder = self.folder.resolve()
        try:
            path = folder.joinpath(name).resolve()
            if not path.is_relative_to(folder):
                raise ValueError(f"{name} is outside the folder of the workflows: put it beside the workflow")
            if path.stat().st_size > most:
                raise ValueError(f"{name} has over {most:,} bytes: make it smaller")
            return path.read_bytes()
        except FileNotFoundError as error:
            raise ValueError(f"the file {name} is missing: put it beside the workflow, or the text here") from error
        except OSError as error:
            raise ValueError(f"{name} can't be read: {error.strerror}") from error

    def _refuse_twins(self, loaded: list[LoadedFile]) -> None:
        first: dict[str, str] = {}
        for one in loaded:
            other = first.setdefault(one.workflow.key, one.path.name)
            if other != one.path.name:
                message = f"{other} has the key '{one.workflow.key}' too: every workflow needs its own"
                self.problems.append(Problem("key", None, message, one.path.name))
