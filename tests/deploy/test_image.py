"""The Dockerfile and what is locked for it. deploy/ci/build-image builds and runs it; that takes root and minutes."""

import re
import subprocess

import pytest

from tests.dashboards.boards import ROOT
from tests.deploy.tools import tool

tomllib = pytest.importorskip("tomllib")  # Python has it since 3.11.

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCKS = ("requirements.txt", "requirements-build.txt", "requirements-demo.txt")


def test_hadolint_finds_nothing() -> None:
    """Hadolint accepts the Dockerfile."""
    done = subprocess.run([tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_image_is_safe_to_run() -> None:
    """It has a numeric user, starts without a shell, ends by a signal, and has a health check."""
    assert "USER 65532:65532" in DOCKERFILE
    assert 'ENTRYPOINT ["pool-exporter"]' in DOCKERFILE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
    assert 'CMD ["pool-exporter", "healthcheck"]' in DOCKERFILE


def test_the_last_stage_is_the_sidecar() -> None:
    """A build without a target makes the sidecar."""
    assert "sidecar" == re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, re.MULTILINE)[-1]


def test_only_what_is_needed_is_sent() -> None:
    """.dockerignore admits the files that are copied, and no others."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" == ignored[0]
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert f"!{name}" in ignored or name.startswith("deploy/requirements")
            assert (ROOT / name).exists()


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_locked_by_hash(name: str) -> None:
    """Each requirement is one version with its hashes, and no index is named."""
    text = (ROOT / "deploy" / name).read_text()
    packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]

    assert packages
    assert [] == [line for line in packages if not re.match(r"[a-z0-9._\[\],-]+==\S+( ;.*)? \\$", line)]
    assert text.count("--hash=sha256:") >= len(packages)
    assert "://" not in text


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("requirements.txt", ("sidecar", "postgres", "mysql", "pgbouncer", "otel")),
        ("requirements-demo.txt", ("demo", "sidecar", "postgres")),
    ],
)
def test_locked_packages_are_those_of_the_project(name: str, extras: tuple[str, ...]) -> None:
    """The dependencies of the project and of the image's extras are in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    names = {re.split(r"[\[<>=; ]", each)[0].lower() for each in wanted} | {"greenlet"}  # Of sqlalchemy[asyncio].
    locked = set(re.findall(r"^([a-z0-9._-]+)", (ROOT / "deploy" / name).read_text(), re.MULTILINE))

    assert set() == {each.replace("_", "-") for each in names} - locked
