"""The deployment files say only what the code knows: schemas, settings, commands, secrets, hardening."""

import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from service.settings import NOT_OURS, Limits, Settings

ROOT = Path(__file__).parents[2]
BASE = ROOT / "k8s" / "base"
KNOWN_VARIABLES = {
    f"ENTERON_{name.upper()}" for name in (*Settings.model_fields, *Limits.model_fields)
} - NOT_OURS
COMMANDS = {"api", "dispatcher", "worker", "bootstrap", "migrate"}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def manifests():
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    return [
        pytest.param(document, id=f"{document['kind']}-{document['metadata']['name']}")
        for name in listed
        for document in yaml.safe_load_all((BASE / name).read_text())
    ]


def pod_specs():
    return [param for param in manifests() if "template" in param.values[0].get("spec", {})]


def containers(document):
    pod = document["spec"]["template"]["spec"]
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_every_manifest_is_listed():
    listed = set(yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"])
    assert listed == {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}


@pytest.mark.parametrize("document", manifests())
def test_manifest_fits_the_kubernetes_schema(document):
    kubernetes_validate.validate(document, "1.32", strict=True)


@pytest.mark.parametrize("document", pod_specs())
def test_pod_keeps_the_restricted_standard(document):
    pod = document["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    for container in containers(document):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]) == {"requests", "limits"}


@pytest.mark.parametrize("document", pod_specs())
def test_container_runs_a_command_we_have_with_settings_we_know(document):
    volumes = {volume["name"]: volume for volume in document["spec"]["template"]["spec"]["volumes"]}
    held = {item["path"] for item in volumes["secrets"]["secret"]["items"]}
    for container in containers(document):
        assert container["args"][0] in COMMANDS
        for variable in container["env"]:
            assert variable["name"] in KNOWN_VARIABLES
            if variable["value"].startswith("/secrets/"):
                assert variable["value"].removeprefix("/secrets/") in held


def test_config_map_holds_only_known_settings():
    config = yaml.safe_load((BASE / "config.yaml").read_text())
    assert set(config["data"]) <= KNOWN_VARIABLES


def test_redis_is_only_reached_by_dispatcher_and_workers():
    for param in pod_specs():
        document = param.values[0]
        volumes = document["spec"]["template"]["spec"]["volumes"]
        paths = {item["path"] for item in volumes[0]["secret"]["items"]}
        may = document["metadata"]["name"] in {"dispatcher", "worker-interactive", "worker-batch"}
        assert ("redis_password" in paths) == may


@pytest.mark.parametrize("name", [name for name in COMPOSE["services"] if name not in {"postgres", "redis"}])
def test_compose_service_is_consistent(name):
    service = COMPOSE["services"][name]
    assert service["command"][0] in COMMANDS
    assert set(service["environment"]) <= KNOWN_VARIABLES
    assert set(service["depends_on"]) <= set(COMPOSE["services"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    for value in service["environment"].values():
        if value.startswith("/run/secrets/") and "redis" not in value:
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_compose_names_volumes_and_secrets_it_defines():
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]


def test_make_secrets_makes_what_compose_and_kubernetes_want(tmp_path):
    subprocess.run([ROOT / "k8s" / "make-secrets.sh", tmp_path / "secrets"], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in made.values())


def test_dockerfile_has_the_three_targets_and_no_registry_host():
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM runtime AS (\S+)", text, re.M)) == {"api", "worker-cpu", "worker-gpu"}
    assert "://" not in text.replace("http://127.0.0.1", "")
    assert re.search(r"^USER 10001", text, re.M)


def test_compose_builds_targets_that_exist():
    text = (ROOT / "Dockerfile").read_text()
    for service in COMPOSE["services"].values():
        if "build" in service:
            assert re.search(rf"^FROM runtime AS {service['build']['target']}$", text, re.M)
