"""Hydra's command line as people type it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.overrides import arrange, check_groups, explain


@pytest.mark.parametrize(
    ("words", "flags", "overrides"),
    [
        ("a=1 -m b=1,2", ["--multirun"], ["a=1", "b=1,2"]),
        ("--multirun a=1", ["--multirun"], ["a=1"]),
        ("a=1 --config-dir mine b=2", ["--config-dir=mine"], ["a=1", "b=2"]),
        ("a=1 --config-dir=mine b=2", ["--config-dir=mine"], ["a=1", "b=2"]),
        ("a=1 -cd x=y ~b", ["--config-dir=x=y"], ["a=1", "~b"]),
        ("a=1 --cfg job b=2 --resolve c=3", ["--cfg=job", "--resolve"], ["a=1", "b=2", "c=3"]),
        ("-c job a=1", ["--cfg=job"], ["a=1"]),
        ("a=1 --info b=2", ["--info=all"], ["a=1", "b=2"]),
        ("--info defaults a=1", ["--info=defaults"], ["a=1"]),
        ("a=1 --help", ["--help"], ["a=1"]),
        ("--hydra-help", ["--hydra-help"], []),
        ("-m -- a=1", ["--multirun"], ["a=1"]),
        ("", [], []),
    ],
)
def test_flags_stand_anywhere(words: str, flags: list[str], overrides: list[str]) -> None:
    assert arrange(words.split()) == (flags, overrides)


@pytest.mark.parametrize("words", [["a=1", "--multi-run", "b=2"], ["a=1", "--cfg", "b=2"], ["--config-dir"]])
def test_an_unknown_flag_or_a_missing_value_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        arrange(words)
    assert end.value.code == 2
    assert words[-2 if len(words) > 1 else 0] in capsys.readouterr().err


def said(override: str) -> str:
    """What is said of an override that Hydra refuses."""
    with pytest.raises(HydraException) as refused:
        OverridesParser.create().parse_overrides([override])
    return explain(refused.value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("runs=实验", "实验"),
        ("runs=/home/jürgen/my runs", "/home/jürgen/my runs"),
        ("data.path=D:\\数据\\mosi.h5", "D:\\数据\\mosi.h5"),
        ("runs=C:\\büro\\", "C:\\büro\\"),
        ("runs=Anna's runs", "Anna's runs"),
        ("+ids=[a,é b,{c: ü}]", ["a", "é b", {"c": "ü"}]),
        ("objective.positive=<", "<"),
        ("data.path=lr=1/mosi.h5", "lr=1/mosi.h5"),
        ("runs=try (2)", "try (2)"),
        ("runs=~/runs", str(Path("~/runs").expanduser())),
    ],
)
def test_a_value_that_wants_quotes_is_said_as_it_is_typed(override: str, value: object) -> None:
    (typed,) = shlex.split(re.split(r"need quotes: |as text: ", said(override))[1])
    assert OverridesParser.create().parse_overrides([typed])[0].value() == value


def test_elements_of_a_sweep_are_quoted_one_by_one() -> None:
    assert said("runs=a,実験,b").endswith("""'runs=a,"実験",b'""")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("modalities=[text", "no viable alternative at input '[text'"),
        ("seed=range(1,5", "no viable alternative"),
        ("seed=rang(1,5)", "Unknown function 'rang'"),
        ('runs="abc', "close the quotes"),
        ("実験=1", "names have only the letters a to z"),
        ("a b", "name=value"),
        ("seed", "name=value"),
    ],
)
def test_quotes_are_not_proposed_where_they_do_not_help(override: str, words: str) -> None:
    line = said(override)
    assert words in line and line.startswith(override)
    assert not re.search(r"need quotes: |as text: ", line)


@pytest.mark.parametrize("value", ["video$_$3", "C:\\data\\mosi.h5", "my runs", "a-b_c.d/e+f%g@h?i|j"])
def test_what_hydra_reads_without_quotes_stays(value: str) -> None:
    assert OverridesParser.create().parse_overrides([f"runs={value}"])[0].value() == value


@pytest.mark.parametrize(
    "word",
    [
        "logger=null",
        "model=null",
        "tuned=null",
        "model=1",
        "data=2024",
        "trainer=true",
        "+ablation=[bi,uni]",
        "tuned=[a,b]",
        "model=misa.yaml",
        "model=misa.yaml,tfn",
        "data=./mosi",
    ],
)
def test_of_a_group_one_name_is_chosen(word: str) -> None:
    with pytest.raises(UserError, match="give one name of conf/"):
        check_groups(["seed=1", word])


def test_names_sweeps_and_other_lists_are_left_alone() -> None:
    check_groups(
        ["model=lmf,misa", "+ablation=bi,uni", "modalities=[text]", "experiment=[a,b]", "ckpt_path=null", "~tuned"]
    )
