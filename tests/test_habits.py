"""What a project promises to those who join it: CI, constraints, templates and citation say what is so."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CI: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
MATRIX = CI["jobs"]["check"]["strategy"]["matrix"]
LOWEST = "constraints-lowest.txt"
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
(CHECKED,) = (set(words.split()) for words in re.findall(r"^make .*:-(.*)}", (ROOT / ".ci/run").read_text(), re.M))


def requirements() -> list[Requirement]:
    """All that pyproject.toml asks for, except ``bench``: what is measured beside this project."""
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name != "bench"}
    lines = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]
    return [found for found in map(Requirement, lines) if found.name != PROJECT["name"]]


def pins(name: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return {package.replace("_", "-").lower(): Version(version) for package, version in (s.split("==") for s in lines)}


def test_ci_runs_every_python_that_is_allowed_and_no_other() -> None:
    classified = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert MATRIX["python"] == classified == [f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}")]


def test_ci_runs_the_lowest_versions_on_the_lowest_python() -> None:
    (lowest,) = MATRIX["include"]
    assert (lowest["python"], lowest["constraints"]) == (MATRIX["python"][0], LOWEST)
    assert f"--python-version {lowest['python']} " in (ROOT / LOWEST).read_text()
    assert set(lowest["targets"].split()) <= CHECKED


def test_what_ci_runs_exists() -> None:
    steps = CI["jobs"]["check"]["steps"]
    assert [step["run"].split()[0] for step in steps if "run" in step] == [".ci/run"]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert {"lint", "test"} <= CHECKED <= TARGETS
    for name in [*MATRIX["constraints"], LOWEST]:
        assert (ROOT / name).is_file()
    assert CI["jobs"]["check"]["env"] == {"CONSTRAINTS": "${{ matrix.constraints }}"}
    assert "\nCONSTRAINTS ?= constraints.txt\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("requirement", requirements(), ids=lambda found: found.name)
def test_every_dependency_is_pinned_where_it_is_allowed(requirement: Requirement) -> None:
    name = requirement.name.lower()
    assert requirement.specifier.contains(pins("constraints.txt")[name])
    (bound,) = [s.version for s in requirement.specifier if s.operator in (">=", "==")]
    lowest = pins(LOWEST)[name].release
    assert requirement.specifier.contains(pins(LOWEST)[name])
    assert lowest[: len(Version(bound).release)] == Version(bound).release, "make it anew, as its second line says"


@pytest.mark.parametrize("name", ["ISSUE_TEMPLATE/bug_report.yml", "ISSUE_TEMPLATE/feature_request.yml"])
def test_an_issue_form_asks_for_the_facts(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / name).read_text())
    assert {"name", "description", "body"} <= set(form)
    assert all({"type", "id", "attributes"} <= set(field) and field["attributes"]["label"] for field in form["body"])
    assert any("`mmsa info`" in field["attributes"]["label"] for field in form["body"])


def test_a_pull_request_is_asked_for_the_facts() -> None:
    assert {"`mmsa info`", "`.ci/run`"} <= set(
        re.findall("`[^`]+`", (ROOT / ".github/pull_request_template.md").read_text())
    )


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what CFF 1.2.0 requires
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert (citation["license"], citation["keywords"]) == (PROJECT["license"], PROJECT["keywords"])
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    authors = " & ".join(author["family-names"] for author in paper["authors"])
    equations = " ".join((ROOT / "docs/equations.md").read_text().split())
    assert f"{authors}, *{paper['title']}*" in equations


def test_what_contributing_says_to_make_exists() -> None:
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    named = {target for pair in named for target in pair if target}
    assert {"setup", "test-quick", "test", "lint"} <= named <= TARGETS
