"""The documents name what exists, and every command in them is one that the programs take.

Commands of the guides that need neither real data nor several processes are run, on a few utterances and a tiny BERT.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import pickle
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sequences
import videos
import wandb
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from mmsa_lightning import cli
from mmsa_lightning.data.folds import folds as folds_of
from mmsa_lightning.experiment import app, config
from mmsa_lightning.experiment.overrides import arrange
from mmsa_lightning.training import optim, trainer

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", *PAGES, "experiments/README.md", "experiments/results/README.md"]

# Commands of `mmsa` that other tests run.
ELSEWHERE = {"attention", "evaluate", "package", "predict", "robustness", "serve"}
SHELL = {"git", "cd", "source", "echo"}
FEW_JOBS = 4  # a sweep of more is composed, and not run
SMALL = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
COUNTS = "data.counts={train: 32, valid: 16, test: 16}"
# What needs real data, several processes, the hub, or the 400 MB of MPNet.
NOT_HERE = re.compile(
    r"hydra/launcher|trainer\.devices|data=(mosi|mosei|sims)\b|experiment=(?!\w+ data=demo)|mpnet|roberta"
)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands(document: str) -> list[list[str]]:
    """The command lines of a document's bash blocks, each as words."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text_of(document), re.DOTALL)).replace("\\\n", " ")
    lines = [part for line in blocks.splitlines() for part in line.split(" && ")]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def training(words: list[str]) -> list[str] | None:
    """The arguments of a command that trains."""
    return words[2:] if words[:2] in (["python", "train.py"], ["mmsa", "train"]) else None


def jobs(arguments: list[str]) -> list[tuple[str, ...]]:
    """The overrides of each job that these arguments start."""
    _, overrides = arrange(arguments)
    (found,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), max_batch_size=None)
    return [tuple(job) for job in found]


def each_value_once(sweep: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """As many jobs of a sweep as it takes to see every override, all seeds being alike."""
    kept = sweep[:1]
    for job in sweep[1:]:
        if {override for override in job if not override.startswith("seed=")}.difference(*kept):
            kept.append(job)
    return kept


@functools.cache
def composed(overrides: tuple[str, ...]) -> Any:
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        return compose("train", [*overrides], return_hydra_config=True)


def anchors(document: str) -> set[str]:
    """As GitHub and MkDocs make them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, "CONTRIBUTING.md", "SECURITY.md"])
def test_what_a_document_names_exists(document: str) -> None:
    text = text_of(document)
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.M)}
    assert set(re.findall(r"`(test_\w+)`", text)) <= defined

    files = {
        path.name for folder in ("mmsa_lightning", "tests", "experiments") for path in (ROOT / folder).rglob("*.py")
    }
    assert {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", text)} <= files | {"train.py"}
    for path in re.findall(r"(?:pytest|python) ((?:tests|experiments)[\w/.]*)", text):
        assert (ROOT / path).exists(), path
    for chosen in re.findall(r"pytest [^`\n]*-k \"?([\w ]+)", text):
        for word in chosen.split(" or "):
            assert any(word in name for name in defined), word
    for path in re.findall(r"`(conf/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path

    for link in re.findall(r"\]\((?!https?:)([^)]+)", text):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent.joinpath(path) if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.resolve().relative_to(ROOT).as_posix()), link


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_taken(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(document):
        check_command(words, capsys)


def check_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = training(words)
    if words[0] == "make":
        made = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        lines = [line.replace(".venv/bin/", "").lstrip("-") for line in made.stdout.splitlines()]
        for line in lines:
            if line.startswith(("python train.py", "mmsa ")):
                check_command(shlex.split(line), capsys)
    elif arguments is not None:
        if "--config-dir" not in arguments:
            for overrides in each_value_once(jobs(arguments)):
                settings = config.plain(composed(overrides))
                config.check(settings)
                trainer.check(settings["trainer"])
                optim.check(settings["optim"])
    elif words[0] == "mmsa":
        check_options(words[1:], capsys)
    elif words[0] == "python":
        source = (ROOT / words[1]).read_text()
        assert all(f'"{word}"' in source for word in words[2:] if word.startswith("--")), words
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert {extra for found in re.findall(r"\[([\w,-]+)\]", words[2]) for extra in found.split(",")} <= set(extras)
    else:
        assert words[0] in SHELL, words


def check_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """See whether a command of ``mmsa`` and its options stand in its help."""
    command = [word for word in words if not word.startswith("-")][: 2 if words[0] in ("data", "new") else 1]
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--help"])
    assert end.value.code == 0, words
    known = re.findall(r"(?<![\w-])--[\w-]+", capsys.readouterr().out)
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= set(known), words


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_override_has_a_place(document: str) -> None:
    """Overrides in running text: their names are those of the configs."""
    together: list[dict[str, str]] = []  # by name; a config can be composed of only one value of each
    for written in re.findall(r"`('?[+~]?[a-z][\w./]*=[^`…]+)`", text_of(document)):
        for override in {override for job in jobs(shlex.split(written)) for override in job}:
            name = override.partition("=")[0]
            if name == "model":  # the names of settings depend on it
                composed((override,))
                continue
            place = next((found for found in together if name not in found), None)
            if place is None:
                together.append(place := {"logger": "logger=wandb"} if name != "logger" else {})
            place[name] = override
    for overrides in together:
        composed(tuple(overrides.values()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the guides import, where commands are run."""
    rng = np.random.default_rng(0)
    counts = {"train": 8, "valid": 4, "test": 4}
    ids = [f"{split}$_${i}" for split, n in counts.items() for i in range(n)]
    with (tmp_path / "utterances.csv").open("w", newline="") as file:
        rows = [[id, f"so good {i}", round(rng.uniform(-3, 3), 1), id.split("$")[0]] for i, id in enumerate(ids)]
        csv.writer(file).writerows([["id", "text", "label", "split"], *rows])
    np.savez(tmp_path / "audio.npz", id=ids, features=rng.normal(size=(16, 5)))
    np.savez(tmp_path / "glove.npz", words=["so", "good"], vectors=rng.normal(size=(2, 4)))
    (tmp_path / "MOSI").mkdir()
    folds = {"train": "train", "dev": "valid", "test": "test"}
    for fold, split in folds.items():
        words = ["so", "good"]
        utterances = [
            ((np.arange(2), rng.normal(size=(2, 47)), rng.normal(size=(2, 74)), words), [[rng.uniform(-3, 3)]], id)
            for id in (f"{split}[{i}]" for i in range(counts[split]))
        ]
        (tmp_path / "MOSI" / f"{fold}.pkl").write_bytes(pickle.dumps(utterances))
    np.savez(tmp_path / "vision.npz", id=ids, features=rng.normal(size=(16, 3, 20)))
    (tmp_path / "unaligned_50.pkl").write_bytes(
        pickle.dumps({split: pickled(split, n, rng) for split, n in counts.items()})
    )
    aligned = {split: pickled(split, n, rng) for split, n in counts.items()}
    for own in aligned.values():
        own |= {m: own[m][:, :4] for m in ("audio", "vision")}
        del own["audio_lengths"], own["vision_lengths"]
    (tmp_path / "aligned_50.pkl").write_bytes(pickle.dumps(aligned))
    (tmp_path / "unaligned_39.pkl").write_bytes(
        pickle.dumps({split: pickled(split, n, rng, largest=1) for split, n in counts.items()})
    )
    (tmp_path / "CMU_MOSI").mkdir()
    official = folds_of("mosi") or {}
    recorded = {"words": sequences.words("so it is good"), "COVAREP": rng.normal(size=(4, 74)),
                "FACET_4.2": rng.normal(size=(4, 47)), "labels": rng.uniform(-3, 3, (4, 1))}  # fmt: skip
    for name, features in recorded.items():
        for folder in (tmp_path, tmp_path / "CMU_MOSI"):
            entries = {video: (features, sequences.regular(0, 1, 4)) for video in official}
            sequences.write(folder / f"{name}.csd", name, entries, None)
    (tmp_path / "videos").mkdir()
    listed = [f"v{i}$_$0,v{i}.mp4,{i}.1 is good,{i}" for i in range(3)]
    (tmp_path / "videos" / "list.csv").write_text("\n".join(["id,video,text,label", *listed]))
    for name in ("videos/v0.mp4", "videos/v1.mp4", "videos/v2.mp4", "new_clip.mp4", "clip.mp4"):
        videos.write(tmp_path / name, 0.5, sound=videos.tone(0.5))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()  # it reads its variables once
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def pickled(split: str, n: int, rng: np.random.Generator, largest: float = 3) -> dict[str, Any]:
    """One split of MMSA's unaligned pickle, with labels up to ``largest``."""
    tokens = np.tile(np.array([[101, 2061, 2204, 102], [1] * 4, [0] * 4], np.float32), (n, 1, 1))
    return {
        "raw_text": ["so good"] * n,
        "id": [f"{split}$_${i}" for i in range(n)],
        "text_bert": tokens,
        "regression_labels": rng.uniform(-largest, largest, n),
        "audio": rng.normal(size=(n, 6, 5)),
        "audio_lengths": [6] * n,
        "vision": rng.normal(size=(n, 7, 20)),
        "vision_lengths": [7] * n,
    }


def runs_here(words: list[str]) -> bool:
    """Whether a command needs neither real data nor several processes, and ends within seconds."""
    arguments = training(words)
    if NOT_HERE.search(" ".join(words)):
        return False
    return words[0] == "mmsa" and words[1] not in ELSEWHERE if arguments is None else len(jobs(arguments)) <= FEW_JOBS


@pytest.mark.slow
@pytest.mark.parametrize(
    "document", [page for page in PAGES if page != "docs/results.md" and any(map(runs_here, commands(page)))]
)
def test_the_commands_of_a_guide_run(document: str, folder: Path, tiny_bert: str) -> None:
    small = [f"text_encoder={tiny_bert}", *SMALL]
    run = list(filter(runs_here, commands(document)))
    for words in run:
        arguments = training(words)
        if arguments is None:
            ends_well(cli.main, [*words[1:], *([*small, COUNTS] if words[1] in ("table", "figure") else [])])
        else:
            demo = [] if any("path=" in word for word in arguments) else [COUNTS]
            ends_well(app.main, [*arguments, *small, *demo])
    assert any(folder.rglob("result.json")) == any(training(words) is not None for words in run)
    for place in re.findall(r"[\w/]+\.(?:h5|html)", " ".join(word for words in run for word in words)):
        assert (folder / place).exists(), place


def ends_well(program: Callable[[list[str]], None], arguments: list[str]) -> None:
    try:
        program(arguments)
    except SystemExit as end:
        assert not end.code, arguments


def test_what_the_table_of_equations_names_is_in_the_code() -> None:
    """In the file that its row names, or in that of the paper's model or objective."""
    lines = text_of("docs/equations.md").splitlines()
    rows = [re.split(r"(?<!\\)\|", line) for line in lines if re.match(r"\| [(\d]", line)]
    assert len(rows) > 10
    for _, equation, _, code, *_ in rows:
        spans = re.findall(r"`([\w./]+)`", code)
        paths = {f"models/{span}" if span.startswith("layers/") else span for span in spans if span.endswith(".py")}
        paths |= {"models/interactive_attention.py", "objectives/multitask.py"}
        source = "".join(text_of(f"mmsa_lightning/{path}") for path in paths)
        for name in (span.rpartition(".")[2] for span in spans if not span.endswith(".py")):
            assert re.search(rf"(def|class) {name}\b|self\.{name} =", source), (equation, name)


def test_what_a_page_may_not_show(caplog: pytest.LogCaptureFixture) -> None:
    """Anything that is loaded over the network, or a role of a docstring as it is written."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    assert spec is not None and spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    ours = '<a href="https://elsewhere.org">x</a><script src="assets/a.js"></script><link rel="icon" href="/a.png">'
    hooks.on_post_page(ours, page=page)
    assert not caplog.messages
    for theirs in (
        '<script async src="https://elsewhere.org/a.js"></script>',
        '<link href="//elsewhere.org/a.css" rel="stylesheet">',
        "<img src=http://elsewhere.org/a.png>",
        "see :exc:<code>UserError</code>",
    ):
        hooks.on_post_page(theirs, page=page)
        assert "a.md" in caplog.messages[-1]
    assert len(caplog.messages) == 4
