"""/metrics: every figure is documented, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.web.conftest import Api

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
#: What the Prometheus library says of any Python process.
FOREIGN = ("python_", "process_")
WORKFLOW = {"key": "note", "on": ["note"], "steps": [{"channel": "in_app", "title": "a", "body": "b"}]}


async def _figures(api: Api) -> dict[str, dict[str, float]]:
    answer = await api("GET", "/metrics")
    assert answer.status == 200
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(str(answer.body)):
        if not family.name.startswith(FOREIGN):
            found[family.name] = {",".join(s.labels.values()): s.value for s in family.samples}
    return found


async def test_every_figure_is_documented_and_every_documented_one_is_there(api: Api) -> None:
    shown = set(await _figures(api))
    table = OPERATIONS.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    assert shown == {re.sub(r"_total$", "", name) for name in re.findall(r"^\| `(clarion_\w+)`", table, re.MULTILINE)}


async def test_what_waits_is_counted_by_queue_with_its_age(api: Api) -> None:
    # Given two events that nobody decides, since the engine doesn't run
    assert (await api("PUT", "/v1/workflows/note", {**WORKFLOW, "priority": "high"})).status == 201
    for _ in range(2):
        assert (await api("POST", "/v1/events", {"type": "note", "recipients": ["u1"]})).status == 202

    # When the figures are read
    figures = await _figures(api)

    # Then they wait in their queue, and in no other
    assert figures["clarion_queue_depth"] == {"critical": 0, "high": 2, "normal": 0, "bulk": 0}
    assert figures["clarion_queue_age_seconds"]["high"] > 0
    assert figures["clarion_queue_age_seconds"]["normal"] == 0
    assert figures["clarion_projection_lag_seconds"]["daily_stats"] > 0
    assert figures["clarion_workers"] == {}
    assert figures["clarion_database_reachable"] == {"": 1}
