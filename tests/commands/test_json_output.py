"""Commands with an output for people have one for programs, with the same exit code."""

import json
from pathlib import Path

import pytest

from pool_exporter import cli
from pool_exporter.commands import dashboards, top


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Return the exit code of a command, and what it wrote to stdout and stderr."""
    try:
        code = cli.main(list(map(str, arguments)))
    except SystemExit as ended:
        code = int(ended.code or 0)
    written = capsys.readouterr()
    return code, written.out, written.err


@pytest.mark.parametrize("given", ["{}", "--web.listen-address={}"])
def test_healthcheck(capsys: pytest.CaptureFixture[str], tmp_path: Path, given: str) -> None:
    """It has the address, as the argument or as the flag of serve, and the fault; a person gets the fault on stderr."""
    address = f"unix:{tmp_path}/nothing.sock"
    of_program = run(capsys, "healthcheck", "--json", given.format(address))
    of_person = run(capsys, "healthcheck", given.format(address))
    fault = "[Errno 2] No such file or directory"

    assert (1, {"address": address, "is_healthy": False, "fault": fault}) == (of_program[0], json.loads(of_program[1]))
    assert (1, "", f"{address}: {fault}\n") == of_person


def test_dashboards(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It has the paths of the files, as a person gets them one a line."""
    _, of_program, _ = run(capsys, "dashboards", "--json", "--output", tmp_path)
    _, of_person, _ = run(capsys, "dashboards", "--output", tmp_path)
    names = [str(tmp_path / name) for name, _ in dashboards.files()]

    assert {"files": names} == json.loads(of_program)
    assert names == of_person.splitlines()


def test_top_has_the_urls_of_both_forms(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A URL is an argument, or of `--url` as in advise; each is a source."""
    code, out, _ = run(capsys, "top", "--json", f"unix:{tmp_path}/a", f"--url=unix:{tmp_path}/b")

    assert top.NO_ANSWER == code
    assert [f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"] == [each["source"] for each in json.loads(out)["sources"]]


def test_dump_takes_the_flag(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its output is JSON in any case."""
    with_flag, without = (
        json.loads(run(capsys, "dump", "--dir", tmp_path, *flags)[1]) for flags in (["--json"], list[str]())
    )

    assert {**without, "time": with_flag["time"]} == with_flag
