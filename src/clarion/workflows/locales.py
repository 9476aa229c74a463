"""Reads `locales`: what a workflow's texts are in other languages. A locale says only what differs.

    locales:
      de:
        name: Antworten auf deine Kommentare
        steps:
          in_app: { title: "{{ event.data.author }} hat geantwortet" }
          email: { subject: "...", mjml: comment_reply.de.mjml }

`steps` is a mapping by channel, or by the step's place (`3`, from 0) where a channel comes twice; or a list as in the
workflow itself: an entry with `channel` means the next step of that channel, one without the step at its place. What
stands in a file `comment_reply.de.yaml` is exactly what stands under `de`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from clarion.model.workflow import Step
from clarion.templates.rendering import normal_locale
from clarion.workflows.mail_steps import check_addresses
from clarion.workflows.sections import Section, meant
from clarion.workflows.steps import CHANNELS, MAX_STEPS
from clarion.workflows.texts import read_parts

MAX_LOCALES = 100
LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")


def read_locales(section: Section, steps: tuple[Step, ...]) -> tuple[dict[str, str], tuple[Step, ...]]:
    """The workflow's name by locale, and the steps with what differs by locale."""
    names: dict[str, str] = {}
    inner = section.section("locales")
    if inner is None:
        return names, steps
    differing: dict[int, dict[str, dict[str, str]]] = {}
    if len(inner) > MAX_LOCALES:
        inner.add(None, f"has {len(inner)} locales: at most {MAX_LOCALES} are allowed")
    for locale in list(inner)[:MAX_LOCALES]:
        texts = inner.section(locale)
        if not LOCALE.fullmatch(str(locale)):
            inner.add(str(locale), "not a locale: write it like de or pt-BR")
        if texts is None:
            continue
        name = texts.text("name")
        if name is not None:
            names[normal_locale(str(locale))] = name
        for step, entry in _differing_steps(texts, steps):
            parts = read_parts(entry, step.channel, whole=False) if step.channel else {}
            check_addresses(entry, parts)
            entry.close()
            differing.setdefault(step.index, {})[normal_locale(str(locale))] = parts
        texts.close()
    return names, tuple(msgspec.structs.replace(step, locales=differing.get(step.index, {})) for step in steps)


def _differing_steps(texts: Section, steps: tuple[Step, ...]) -> Iterator[tuple[Step, Section]]:
    """Each entry of a locale's `steps` with the step that it means."""
    value = texts.raw("steps")
    if isinstance(value, dict):
        inner = texts.section("steps")
        assert inner is not None
        for key in inner:
            candidates = [step for step in steps if str(key) in (str(step.index), step.channel)]
            entry = inner.section(key)
            if len(candidates) == 1 and entry is not None:
                yield candidates[0], entry
            elif entry is not None:
                inner.add(str(key), _which(str(key), steps, len(candidates)))
    elif value is not None:
        yield from _listed_steps(texts, steps)


def _listed_steps(texts: Section, steps: tuple[Step, ...]) -> Iterator[tuple[Step, Section]]:
    left = list(steps)
    for place, entry in enumerate(texts.sections("steps", MAX_STEPS)):
        channel = entry.choice("channel", CHANNELS)
        if channel is None:
            found = next((step for step in left if step.index == place), None)
        else:
            found = next((step for step in left if step.channel == channel), None)
        if found is None:
            entry.add(None, "the workflow has no step for this: name its channel, or keep the order of the steps")
        else:
            left = [step for step in left if step.index > found.index]
            yield found, entry


def _which(key: str, steps: tuple[Step, ...], candidates: int) -> str:
    if candidates:
        places = [str(step.index) for step in steps if step.channel == key]
        return f"there are {candidates} steps for {key}: name the one by its place, {' or '.join(places)}"
    return f"the workflow has no such step: {meant(key, sorted({str(step.channel) for step in steps if step.channel}))}"
