"""What deploys Clarion names only what there is: commands, settings, routes, ports, figures, files.

No container engine and no cluster are needed, and none of this has been shown by one: see docs/operations.md.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from clarion.cli.app import app as command_line
from clarion.security.encryption import KeyRing
from clarion.settings import Settings, defaults, load
from clarion.web.access import OPEN

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
COMMANDS = set(typer.main.get_group(command_line).commands)
WHEEL = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
QUEUES = {"critical", "high", "normal", "bulk"}
FIGURES = set(re.findall(r"^\| `(clarion_\w+)`", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))


def _manifests() -> Iterator[dict[str, Any]]:
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name not in ("kustomization.yaml", "secret.example.yaml"):
            yield from yaml.safe_load_all(path.read_text())


MANIFESTS = list(_manifests())
PODS = {m["metadata"]["name"]: m["spec"]["template"] for m in MANIFESTS if m["kind"] in ("Deployment", "Job")}


def _check_command(words: list[str]) -> None:
    assert words[0] in COMMANDS, words
    if "--queues" in words:
        assert set(words[words.index("--queues") + 1].split(",")) <= QUEUES


def _check_figures(expression: str) -> None:
    named = set(re.findall(r"clarion_\w+", expression))
    assert named, expression
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= FIGURES, expression


def _load(folder: Path, environment: Mapping[str, str], config: Path | None = None) -> Settings:
    return load(config or _empty(folder), environment)


def _empty(folder: Path) -> Path:
    (folder / "clarion.toml").touch()
    return folder / "clarion.toml"


# --- Kubernetes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_a_command_that_exists_with_settings_that_exist(name: str, tmp_path: Path) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    _check_command(container["args"])
    secret = yaml.safe_load((KUBERNETES / "secret.example.yaml").read_text())
    environment = {**secret["stringData"], **{e["name"]: e["value"] for e in container.get("env", ())}}
    settings = _load(tmp_path, environment, KUBERNETES / "clarion.toml")
    for key, value in environment.items():
        section, _, name = key.removeprefix("CLARION_").lower().rpartition("__")
        assert str(getattr(getattr(settings, section) if section else settings, name)) == value
    KeyRing.parse(settings.encryption_keys)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_asks_for_nothing_it_needs_not(name: str) -> None:
    spec = PODS[name]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert set(container["resources"]) == {"requests", "limits"}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}


@pytest.mark.parametrize("name", [name for name in PODS if name != "clarion-migrate"])
def test_probes_ask_routes_that_answer_without_a_key_on_a_port_that_is_open(name: str) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    probes = [probe["httpGet"] for key, probe in container.items() if key.endswith("Probe")]
    assert len(probes) >= 2
    for probe in probes:
        assert probe["path"] in OPEN
        assert probe["port"] in ports
    settings = load(KUBERNETES / "clarion.toml", {})
    assert ports in ({"http": defaults()["port"]}, {"metrics": settings.metrics_port})
    assert PODS[name]["metadata"]["annotations"]["prometheus.io/port"] == str(*ports.values())


@pytest.mark.parametrize("name", [name for name in PODS if name != "clarion-migrate"])
def test_a_pod_that_waits_for_another_s_fault_gets_no_work_and_is_not_ended_for_it(name: str) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    asked = {key: container[key]["httpGet"]["path"] for key in container if key.endswith("Probe")}
    assert asked == {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}


def test_what_selects_pods_finds_them() -> None:
    components = {t["metadata"]["labels"]["app.kubernetes.io/component"]: name for name, t in PODS.items()}
    for m in MANIFESTS:
        selector = m["spec"].get("selector", {})
        labels = selector.get("matchLabels", selector)
        if labels:
            assert labels["app.kubernetes.io/component"] in components, m
        target = m["spec"].get("scaleTargetRef")
        if target:
            assert target["name"] in PODS
            scaled = next(d for d in MANIFESTS if d["metadata"]["name"] == target["name"] and d["kind"] == "Deployment")
            assert "replicas" not in scaled["spec"], "else every `apply` undoes the scaling"
    guarded = {m["metadata"]["name"] for m in MANIFESTS if m["kind"] == "PodDisruptionBudget"}
    assert guarded == set(PODS) - {"clarion-migrate"}


def test_every_file_belongs_to_a_kustomization() -> None:
    listed = set()
    for path in KUBERNETES.rglob("kustomization.yaml"):
        plain = yaml.safe_load(path.read_text())
        files = [f for generator in plain.get("configMapGenerator", ()) for f in generator["files"]]
        listed |= {path.parent / name for name in [*plain["resources"], *files]} | {path}
        assert [i["name"] for i in plain["images"]] == ["clarion"]
    assert {p for p in KUBERNETES.rglob("*") if p.is_file()} - listed == {KUBERNETES / "secret.example.yaml"}


def test_scaling_alerts_and_dashboard_use_figures_that_exist() -> None:
    triggers = [t for m in MANIFESTS if m["kind"] == "ScaledObject" for t in m["spec"]["triggers"]]
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    rules = [rule for group in alerts for rule in group["rules"]]
    panels = json.loads((ROOT / "deploy/grafana/clarion.json").read_text())["panels"]
    assert len(triggers) >= 2
    for trigger in triggers:
        _check_figures(trigger["metadata"]["query"])
    for rule in rules:
        _check_figures(rule["expr"])
        assert {"alert", "expr", "for", "labels", "annotations"} == set(rule)
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in shown:
        _check_figures(expression)
    assert {f for f in FIGURES if not any(f in e for e in shown)} <= {"clarion_provider_samples"}


# --- Compose and the image --------------------------------------------------------------------------------------------

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: s for name, s in COMPOSE["services"].items() if s["image"].startswith("clarion:")}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    service = OURS[name]
    _check_command(service["command"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    for other, how in service["depends_on"].items():
        assert other in COMPOSE["services"]
        assert how["condition"] != "service_healthy" or "healthcheck" in COMPOSE["services"][other]


@pytest.mark.parametrize("name", OURS)
def test_the_secrets_that_are_made_are_good_settings(name: str, tmp_path: Path) -> None:
    # Given the secrets as the script makes them, twice
    shutil.copy(ROOT / "deploy/compose/secrets.sh", tmp_path)
    said = ""
    for _ in range(2):
        said = subprocess.run(["sh", "secrets.sh"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert said == "", "the second time it makes none"
    assert {Path(s["file"]).name for s in COMPOSE["secrets"].values()} == {
        p.name for p in (tmp_path / "secrets").iterdir()
    }

    # When the service's environment is read, its secrets mounted
    environment = {
        key: value.replace("file:/run/secrets/", f"file:{tmp_path}/secrets/")
        for key, value in OURS[name]["environment"].items()
    }
    settings = _load(tmp_path, environment)

    # Then each of its settings is in force
    assert settings.engine == "celery"
    password = (tmp_path / "secrets/database_password").read_text().strip()
    assert settings.database_url == f"postgresql://clarion:{password}@postgres/clarion"
    KeyRing.parse(settings.encryption_keys)
    assert len(settings.admin_key) >= 32
    probed = re.findall(r":(\d+)(/\w+)", json.dumps(OURS[name].get("healthcheck", {})))
    own = settings.port if OURS[name]["command"] == ["serve"] else settings.metrics_port
    assert probed == ([] if name == "migrate" else [(str(own), "/readyz")])


@pytest.mark.slow
def test_what_the_image_is_built_from_makes_a_whole_wheel(tmp_path: Path) -> None:
    # Given what .dockerignore lets through
    text = (ROOT / "Dockerfile").read_text()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in kept) for name in copied)
    for name in copied:
        target = tmp_path / "build" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / name, target) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, target)

    # When it is built as the Dockerfile does
    subprocess.run(
        [sys.executable, *WHEEL, "-w", tmp_path, "."],
        cwd=tmp_path / "build", check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )  # fmt: skip

    # Then everything that isn't Python is in it too
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    wanted = {str(p.relative_to(source)) for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert wanted <= inside, wanted - inside


def test_the_image_runs_as_nobody_in_particular() -> None:
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in final
    assert 'ENTRYPOINT ["clarion"]' in final
    (path,) = re.findall(r"127\.0\.0\.1:8000(/\w+)", final)
    assert path in OPEN
