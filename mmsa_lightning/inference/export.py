"""``mmsa package``: finished runs as a package that needs neither Lightning nor Hydra, nor the data."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from mmsa_lightning import files
from mmsa_lightning.data import tokens, vocabularies
from mmsa_lightning.data.datamodule import StoreDataModule
from mmsa_lightning.data.missing import read as missing_of
from mmsa_lightning.data.tokenize import each, is_repeated
from mmsa_lightning.data.utterances import moments
from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import result
from mmsa_lightning.experiment.components import plugin_files
from mmsa_lightning.experiment.config import of_run, row_hash
from mmsa_lightning.experiment.identity import text_encoder
from mmsa_lightning.experiment.restore import restore
from mmsa_lightning.inference.about import CARD, CONFIG, TEXT_ENCODER, About, File, Member, Modality, Vocabulary, read
from mmsa_lightning.inference.architecture import architecture
from mmsa_lightning.inference.archive import foreign, is_package
from mmsa_lightning.inference.card import card
from mmsa_lightning.inference.predictor import Predictor
from mmsa_lightning.models.layers.adaptation import merge_lora
from mmsa_lightning.models.layers.text_encoder import TextEncoder

EPOCH = (1980, 1, 1, 0, 0, 0)  # of each file in a zip, so that the same run gives the same bytes


@dataclass
class Trained:
    """Finished runs of one row, with their weights.

    Attributes:
        about: what the package will say.
        models: of each run.
        tokenizer, encoder: of the first; None where the models read no word pieces.
        code: the user's own file, and what it imports from beside it.
    """

    about: About
    models: list[nn.Module]
    tokenizer: Any | None
    encoder: TextEncoder | None
    code: list[Path]


def package(run_dirs: Sequence[Path], out: Path, code: Path | None = None) -> About:
    """Write a package of one run, or of an ensemble of the runs of one row.

    Args:
        run_dirs: directories of finished runs that differ in their seed alone.
        out: a folder, made if it is not there; or a .zip. A package that is there is replaced whole.
        code: the folder of the user's own model, whose file then goes into the package.

    Raises:
        UserError: as :func:`trained`; something that is no package is at ``out``, or lies in the folder of one; what
            the runs say of themselves does not fit together; the disk is full.
    """
    if out.exists() and not is_package(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} exists and is no package; choose another place for this one")
    if out.is_dir() and is_package(out) and (other := foreign(out)):
        raise UserError(
            f"{out} holds {other[0]}, which is not of the package there; move it away, or choose another place"
        )
    found = trained(run_dirs, code)
    if len(found.code) > 1:
        own, beside, *_ = (path.name for path in found.code)
        raise UserError(f"{own} imports {beside} from beside it, and a package carries one file: put both in {own}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        folder = Path(temporary) / "package"
        about = _write(found, folder)
        if out.suffix == ".zip":
            packed = Path(temporary) / "package.zip"
            _pack(folder, packed)
            packed.replace(out)
        else:
            if out.exists():
                out.replace(Path(temporary) / "old")  # removed when the new one stands
            folder.replace(out)
    return about


def predictor(run_dir: Path, code: Path | None = None, device: str = "cpu") -> Predictor:
    """A finished run as what loading its package gives.

    Raises:
        UserError: as :func:`trained`.
    """
    found = trained([run_dir], code)
    with tempfile.TemporaryDirectory() as temporary:
        _write_encoder(found, Path(temporary))
        models = [_alone(found.about, model, Path(temporary), code) for model in found.models]
    return Predictor(found.about, models, found.tokenizer, device)


def trained(run_dirs: Sequence[Path], code: Path | None = None) -> Trained:
    """Restore finished runs.

    Args:
        run_dirs, code: see :func:`package`.

    Raises:
        UserError: there is no finished run, or its data or encoder are no longer there; the runs are not the seeds of
            one row; a model is the user's own and its folder is not given.
    """
    records = [_finished(run_dir) for run_dir in run_dirs]
    configs = [of_run(run_dir) for run_dir in run_dirs]
    for key in ("data_hash", "encoder_hash", "plugin_hash"):
        if other := [i for i, record in enumerate(records) if record.get(key) != records[0].get(key)]:
            raise UserError(f"{run_dirs[other[0]]} is of another {key.removesuffix('_hash')} than {run_dirs[0]}")
    if other := [i for i, config in enumerate(configs) if row_hash(config) != row_hash(configs[0])]:
        raise UserError(
            f"{run_dirs[other[0]]} has other settings than {run_dirs[0]}: an ensemble is of one row's seeds"
        )
    if len({config["seed"] for config in configs}) < len(configs):
        raise UserError("a seed was given twice: an ensemble is of different seeds")
    if records[0].get("plugin_hash") and code is None:
        raise UserError(
            f"the model of {run_dirs[0]} is your own file ({configs[0]['model']['_target_']}): give "
            "--config-dir DIR, the folder that it is in, which the package then carries; who loads it has to allow it"
        )
    restored = [restore(run_dir, plugins=code) for run_dir in run_dirs]
    data = restored[0][1]
    models = [module.model.eval() for module, _ in restored]
    for model in models:
        for adapted in _encoders(model):
            merge_lora(adapted)
    encoder = next(iter(_encoders(models[0])), None)
    tokenizer = vocabularies.tokenizer_of(data.store.meta.vocabulary or "") if encoder else None
    own = plugin_files(configs[0]["model"], code)
    about = _about(configs[0], records, data, encoder, tokenizer, own[0] if own else None)
    return Trained(about, models, tokenizer, encoder, own)


def _finished(run_dir: Path) -> dict[str, Any]:
    record = result.read(run_dir)
    if record is None:
        raise UserError(f"{run_dir} holds no finished run ({result.NAME})")
    return record


def _encoders(model: nn.Module) -> list[TextEncoder]:
    return [module for module in model.modules() if isinstance(module, TextEncoder)]


def _about(
    config: dict[str, Any],
    records: Sequence[dict[str, Any]],
    data: StoreDataModule,
    encoder: TextEncoder | None,
    tokenizer: Any | None,
    code: Path | None,
) -> About:
    meta, missing = data.store.meta, missing_of(config["missing"])
    several = len(records) > 1
    vocabulary = None
    if encoder is not None:
        vocabulary = Vocabulary(
            name=meta.vocabulary or "",
            sha256=vocabularies.vocabulary_sha256(tokenizer),
            unknown=vocabularies.unknown_id(meta.vocabulary),
            lower_cased=meta.lower_cased,
            longest=min(tokens.MAX_PIECES, encoder.positions),
        )
    return About(
        name=records[0]["model"],
        model={name: value for name, value in config["model"].items() if name != "text_encoder"}
        | ({"text_encoder": ""} if "text_encoder" in config["model"] else {}),
        modalities={m: _modality(data, m) for m in data.dims},
        dataset=meta.dataset,
        data_hash=meta.content_sha256,
        label_range=meta.label_range,
        protocol=meta.protocol,
        aligned=data.aligned,
        standardized=data.standardize,
        text_encoder=Path(text_encoder(config, data) or "").name or None,
        vocabulary=vocabulary,
        missing=missing.mode if missing.applies("train") else None,
        absent=missing.absent,
        members=[
            Member(
                weights=f"model-{record['seed']}.safetensors" if several else "model.safetensors",
                **{key: record[key] for key in ("seed", "best_epoch", "config_hash", "git_commit", "versions")},
                valid=record["valid"],
                test=record["test"],
            )
            for record in records
        ],
        code=code.name if code else None,
        extraction=meta.extraction,
    )


def _modality(data: StoreDataModule, m: str) -> Modality:
    name = data.sequences[m]
    width = data.store.dims[name]
    steps = float(np.median(data.store.splits["train"].sequences[name].lengths))
    if width is None:
        return Modality(None, "text", median_steps=max(1, round(steps) - 2))
    names = data.store.meta.feature_names.get(name)
    if m == "text":
        return Modality(width, _steps(data, m), names, median_steps=round(steps))
    mean, std = data.scale.get(m) or moments(data.store.splits["train"].sequences[m])
    return Modality(width, _steps(data, m), names, files.short(mean), files.short(std), round(steps))


def _steps(data: StoreDataModule, m: str) -> str:
    """On which steps features lie: where no text is read as tokens, they may lie on those of the store all the same."""
    splits = data.store.splits.values()
    text = data.sequences.get("text", "tokens") if m != "text" else "tokens"
    if text not in data.store.dims or not all(s.aligned([text, m]) for s in splits):
        return "own"
    if m == "text":
        return "text"
    repeated = all(is_repeated(steps) for split in splits for steps in each(split.sequences[m]))
    return "utterance" if repeated else "text"


def _alone(about: About, model: nn.Module, folder: Path, code: Path | None) -> nn.Module:
    """The model without what only training needs, and without hooks."""
    bare = architecture(about, folder, code)
    bare.load_state_dict(_state(model, bare))
    return bare


def _state(model: nn.Module, bare: nn.Module) -> dict[str, Tensor]:
    """The weights of a model, whatever of it is frozen and so left out of its checkpoints, that ``bare`` needs."""
    own = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    return {name: own[name].detach().cpu().contiguous().clone() for name in bare.state_dict()}


def _write(found: Trained, folder: Path) -> About:
    """Write a package to a new folder."""
    folder.mkdir()
    _write_encoder(found, folder)
    with torch.device("meta"):
        bare = architecture(found.about, folder, found.code[0].parent if found.code else None)
    for member, model in zip(found.about.members, found.models, strict=True):
        try:
            save_file(_state(model, bare), folder / member.weights)
        except SafetensorError as error:  # the disk is full
            raise UserError(f"cannot write {member.weights} beside the package's place: {error}") from error
        (folder / member.weights).chmod(0o644)  # it is 600
    if found.code:
        shutil.copyfile(found.code[0], folder / found.code[0].name)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = {str(path.relative_to(folder)): File(path.stat().st_size, files.sha256(path)) for path in written}
    about = replace(found.about, files=listed)
    text = about.text()
    try:
        read(text.encode())
    except ValueError as error:  # who loads it would be told the same
        raise UserError(f"no package can be made: {error}") from error
    (folder / CONFIG).write_text(text, encoding="utf-8")
    (folder / CARD).write_text(card(about), encoding="utf-8")
    return about


def _write_encoder(found: Trained, folder: Path) -> None:
    """The configuration and the tokenizer of the text encoder, without a path of this machine."""
    if found.encoder is None or found.tokenizer is None:
        return
    place = folder / TEXT_ENCODER
    place.mkdir()
    found.encoder.bert.config.save_pretrained(place)
    found.tokenizer.save_pretrained(place)
    for path in place.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name in ("config.json", "tokenizer_config.json"):
            for key in ("_name_or_path", "name_or_path", "is_local", "local_files_only"):
                content.pop(key, None)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _pack(folder: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(str(path.relative_to(folder)), EPOCH)
            info.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(info, "w") as packed:
                shutil.copyfileobj(source, packed, 1 << 20)
