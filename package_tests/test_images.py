"""The image and the manifests, as far as they can be tested without a container engine."""

import os
import re
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import kubernetes_validate
import pytest
import redis
import yaml

from package_tests.support.issuer import Issuer
from package_tests.support.project import replace_users_files
from package_tests.support.redis import RedisServer
from package_tests.support.servers import ROOT, Server, clean_environment, free_port
from package_tests.support.wsgi_client import request

DOCKERFILE = (ROOT / "Dockerfile").read_text()
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())


def manifest(kind):
    (found,) = [each for each in MANIFESTS if each["kind"] == kind]
    return found


CONTAINER = manifest("Deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture
def tree(tmp_path):
    """Copy the project without the files in .dockerignore, as `COPY . .` does."""
    assert "\nCOPY . .\n" in DOCKERFILE
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def ignored(folder, names):
        relative = [str((Path(folder) / name).relative_to(ROOT)) for name in names]
        anywhere = [pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/")]
        return [
            name
            for name, path in zip(names, relative, strict=True)
            if any(fnmatch(path, pattern) for pattern in patterns) or any(fnmatch(name, each) for each in anywhere)
        ]

    return replace_users_files(Path(shutil.copytree(ROOT, tmp_path / "origin", ignore=ignored)))


def health_check(port):
    """Run the command of the image's HEALTHCHECK."""
    code = re.search(r'CMD \["python", "-c", "(.*)"\]\n', DOCKERFILE)[1].replace('\\"', '"')
    return subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(PORT=str(port)), stderr=subprocess.DEVNULL
    )


def test_server_runs_from_the_files_of_the_image_and_writes_to_none(tree, tmp_path):
    command = re.search(r'^CMD \["python", "(-m)", "(zuplo_origin\.server)"\]$', DOCKERFILE, re.MULTILINE).groups()
    issuer, port = Issuer(), free_port()
    settings = {"JWT_ISSUER": issuer.name, "JWT_AUDIENCE": "*", "PORT": str(port), "METRICS_ENABLED": "True"}
    settings |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(tmp_path)}
    before = sorted(tree.rglob("*"))
    with Server([sys.executable, *command], port, tmp_path / "log", settings, tree) as server:
        assert server.get("/protected", {"Authorization": f"Bearer {issuer.token()}"})[0] == 200
        assert health_check(port).returncode == 0
        counting = [name for name in os.listdir(tmp_path) if name.startswith("zuplo-origin-metrics-")]
        server.stop()
    issuer.close()

    assert sorted(tree.rglob("*")) == before
    assert len(counting) == 1 and counting[0] not in os.listdir(tmp_path)
    assert health_check(port).returncode == 1


def test_build_step_that_loads_the_application_needs_no_settings(tree):
    step = re.search(r"^RUN /venv/bin/python (craft openapi:write -) > /dev/null", DOCKERFILE, re.MULTILINE)[1]
    ended = subprocess.run([sys.executable, *step.split()], cwd=tree, env=clean_environment(), capture_output=True)

    assert ended.returncode == 0 and b'"openapi": "3.1.0"' in ended.stdout


def test_image_contains_files_of_the_user_and_neither_secrets_nor_development_tools(tree):
    top = {path.name for path in tree.iterdir()}

    assert {"app", "config", "routes", "zuplo_origin", "craft", "wsgi.py", "Kernel.py"} <= top
    assert not top & {".git", ".ci", ".env", "storage", "tests", "package_tests", "benchmarks", "docs"}
    assert not list(tree.glob("requirements-dev.*"))
    assert not (tree / "zuplo_origin/dev").exists() and not (tree / "zuplo_origin/testing.py").exists()
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE


@pytest.mark.parametrize("manifest", MANIFESTS, ids=[each["kind"] for each in MANIFESTS])
def test_manifest_is_valid_for_kubernetes(manifest):
    assert kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_probes_request_routes_that_exist(application):
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert request(application, "GET", CONTAINER[probe]["httpGet"]["path"]).status in (200, 503)


def test_manifests_set_only_settings_that_exist():
    settings = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env-example").read_text(), re.MULTILINE))
    settings |= {"PORT", "WEB_CONCURRENCY", "WEB_THREADS"}

    assert set(manifest("ConfigMap")["data"]) <= settings
    assert set(COMPOSE["services"]["origin"]["environment"]) <= settings
    assert manifest("ConfigMap")["data"]["METRICS_PORT"] == str(CONTAINER["ports"][1]["containerPort"])


def test_pod_has_the_time_that_a_stop_takes():
    pod = manifest("Deployment")["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] >= CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + 10
    assert int(COMPOSE["services"]["origin"]["stop_grace_period"].removesuffix("s")) >= 10


def test_manifests_select_the_same_pods():
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        manifest("Deployment")["spec"]["selector"]["matchLabels"],
        manifest("Service")["spec"]["selector"],
        manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]

    assert selectors == [labels] * 4


def test_compose_publishes_on_loopback_alone():
    for service in COMPOSE["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert COMPOSE["services"]["redis"]["networks"] == ["store"]


def test_redis_of_compose_needs_its_password(tmp_path):
    RedisServer(tmp_path).client.close()  # skips if there is no redis-server
    port, password = free_port(), "0123456789abcdef" * 4
    service = COMPOSE["services"]["redis"]
    shell, option, script = service["command"]
    arguments = f"redis-server - --bind 127.0.0.1 --port {port}"
    script = script.replace("$$", "$").replace("redis-server -", arguments)
    environment = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": password}
    command = [shell, option, script]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, cwd=tmp_path)
    try:
        client = redis.Redis(port=port)
        end = time.monotonic() + 30
        while True:
            try:
                client.ping()
            except redis.AuthenticationError:
                break
            except redis.ConnectionError:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.05)
        assert redis.Redis(port=port, password=password).ping()
        assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
        client.close()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert "://:${REDIS_PASSWORD" in COMPOSE["services"]["origin"]["environment"]["JWKS_STORE"]


def test_images_run_without_privileges():
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for service in COMPOSE["services"].values():
        assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]


def test_both_stages_of_the_image_take_a_digest():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages == ["${PYTHON}", "${PYTHON}"] and "PYTHON=python:3.13-slim@$digest" in DOCKERFILE
