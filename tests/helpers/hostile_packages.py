"""Packages that are broken or mean harm: a sound one, changed. Each is named by what is wrong with it.

A case changes a :class:`Package`, whose files then get the sizes and hashes that they have, so that what comes after
the check of hashes is reached, too. It tells a part of the line in which ``mmsa predict`` must end.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hostile_pickles import Calls
from safetensors.torch import load_file, save_file

from mmsa_lightning import files

WEIGHTS, ENCODER, TOKENIZER = "model.safetensors", "text_encoder/config.json", "text_encoder/tokenizer.json"
SETTINGS = "text_encoder/tokenizer_config.json"
Case = Callable[["Package"], Any]
CASES: dict[str, tuple[str, Case]] = {}


class Package:
    """A copy of a package, to be broken.

    Args:
        sound: its folder.
        folder: of the copy; unchanged files are the same ones.

    Attributes:
        config: of ``config.json``, written at the end.
        given: what ``mmsa predict`` is given as its MODEL.
        more: what follows on the command line.
    """

    def __init__(self, sound: Path, folder: Path) -> None:
        shutil.copytree(sound, folder, copy_function=os.link)
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
        self.given: str | Path = folder
        self.more: list[str] = []

    def write(self, name: str, data: bytes | str) -> None:
        """Replace a file, or add one."""
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    def edit(self, name: str, **changes: Any) -> None:
        """Set fields of a JSON file."""
        self.write(name, json.dumps(json.loads((self.folder / name).read_bytes()) | changes))

    def weights(self, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
        """Change the weights."""
        found = load_file(self.folder / WEIGHTS)
        change(found)
        (self.folder / WEIGHTS).unlink()
        save_file(found, self.folder / WEIGHTS)

    def header(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the header of the weights, and nothing after it."""
        data = (self.folder / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        change(header)
        written = json.dumps(header).encode()
        self.write(WEIGHTS, struct.pack("<Q", len(written)) + written + data[8 + size :])

    def finish(self) -> None:
        """State the sizes and hashes of the files as they are, and write ``config.json``."""
        self.config["files"] = {
            name: {"size": path.stat().st_size, "sha256": files.sha256(path)}
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and (name := str(path.relative_to(self.folder))) not in ("config.json", "README.md")
        }
        self.write("config.json", json.dumps(self.config))

    def zipped(self, **packing: Any) -> zipfile.ZipFile:
        """A zip of it, which is then what is given; open, for more."""
        self.finish()
        self.given = self.folder.with_suffix(".zip")
        archive = zipfile.ZipFile(self.given, "w", **packing)
        for path in self.folder.rglob("*"):
            if path.is_file():
                archive.write(path, str(path.relative_to(self.folder)))
        return archive


AS_IT_IS = object()  # what a case returns whose package is not to be finished


def case(words: str) -> Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        CASES[function.__name__] = words, function
        return function

    return keep


def cases(words: str, **changes: Case) -> None:
    """Several that end in the same words."""
    CASES.update({name: (words, change) for name, change in changes.items()})


def setting(*path: str | int, to: Any) -> Case:
    """A value in ``config.json`` that becomes another."""

    def change(p: Package) -> None:
        place: Any = p.config
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def encoder(**changes: Any) -> Case:
    """Fields of the text encoder's configuration that become others."""
    return lambda p: p.edit(ENCODER, **changes)


# Files that are not those that the package says.


@case("is not the file that config.json says")
def weights_cut_off(p: Package) -> Any:
    p.write(WEIGHTS, (p.folder / WEIGHTS).read_bytes()[:-10])
    return AS_IT_IS


@case("is not the file that config.json says")
def a_bit_of_the_weights(p: Package) -> Any:
    data = bytearray((p.folder / WEIGHTS).read_bytes())
    data[-7] ^= 1
    p.write(WEIGHTS, bytes(data))
    return AS_IT_IS


@case("lacks its file text_encoder/tokenizer.json")
def a_file_missing(p: Package) -> Any:
    (p.folder / TOKENIZER).unlink()
    return AS_IT_IS


@case("there is no package")
def no_such_folder(p: Package) -> Any:
    p.given = p.folder / "other"
    return AS_IT_IS


@case("has no config.json")
def an_empty_folder(p: Package) -> Any:
    shutil.rmtree(p.folder)
    p.folder.mkdir()
    return AS_IT_IS


@case("cannot be had from the hub")
def a_name_of_the_hub(p: Package) -> Any:
    p.given = "nobody-at-all/no-such-model"
    return AS_IT_IS


@case("lacks its file model.safetensors")
def a_fifo_for_weights(p: Package) -> Any:
    (p.folder / WEIGHTS).unlink()
    os.mkfifo(p.folder / WEIGHTS)
    return AS_IT_IS


@case("lacks its file model.safetensors")
def a_folder_for_weights(p: Package) -> Any:
    (p.folder / WEIGHTS).unlink()
    (p.folder / WEIGHTS).mkdir()
    return AS_IT_IS


@case("lacks its file model.safetensors")
def a_link_to_a_device(p: Package) -> Any:
    (p.folder / WEIGHTS).unlink()
    (p.folder / WEIGHTS).symlink_to("/dev/zero")
    return AS_IT_IS


@case("has no config.json")
def a_device_for_config(p: Package) -> Any:
    (p.folder / "config.json").unlink()
    (p.folder / "config.json").symlink_to("/dev/zero")
    return AS_IT_IS


@case("there is no package at")
def a_fifo(p: Package) -> Any:
    p.given = p.folder / "fifo"
    os.mkfifo(p.given)
    return AS_IT_IS


@case("text_encoder/added_tokens.json is no file of it")
def a_file_that_is_not_named(p: Package) -> Any:
    p.write("text_encoder/added_tokens.json", '{"fine": 7}')
    return AS_IT_IS


# config.json.


def raw(change: Callable[[bytes], bytes]) -> Case:
    """Bytes of ``config.json`` that become others."""

    def make(p: Package) -> Any:
        p.finish()
        p.write("config.json", change((p.folder / "config.json").read_bytes()))
        return AS_IT_IS

    return make


cases(
    "config.json: it is not JSON",
    no_json=raw(lambda data: data[:-5]),
    an_empty_config=raw(lambda data: b""),
    a_nan=raw(lambda data: data.replace(b"[-3.0, 3.0]", b"[NaN, 3.0]")),
    an_infinity=raw(lambda data: data.replace(b"[-3.0, 3.0]", b"[-3.0, Infinity]")),
    a_field_twice=raw(lambda data: data.replace(b'"code"', b'"aligned": false, "code"')),
    deep_nesting=raw(lambda data: b"[" * (1 << 20)),
    not_utf8=raw(lambda data: data.replace(b'"lmf"', b'"\xff"')),
    digits=raw(lambda data: data.replace(b'"rank": 3', b'"rank": ' + b"3" * 10000)),
)
cases(
    "it does not begin with the format",
    another_format=setting("format", to="mmsa-lightning package 2"),
    a_list=raw(lambda data: b"[]"),
)
cases("bytes, which is no package's", a_hundred_megabytes_of_nesting=raw(lambda data: b'{"a":' * (20 << 20)))
cases(
    "it has not the fields that it should have",
    an_unknown_field=setting("trust_remote_code", to=True),
    a_field_missing=lambda p: p.config.pop("protocol"),
)
cases(
    "is not",
    an_infinite_number=raw(lambda data: data.replace(b"[-3.0, 3.0]", b"[-3.0, 1e999]")),
    text_for_a_number=setting("vocabulary", "longest", to="many"),
)
cases(
    "its label_range is", a_range_reversed=setting("label_range", to=[3, -3]), one_bound=setting("label_range", to=[3])
)
cases(
    "a mean of audio is not a number, or a standard deviation is not above 0",
    a_deviation_of_0=setting("modalities", "audio", "std", 0, to=0.0),
    a_deviation_that_float32_lacks=setting("modalities", "audio", "std", 0, to=1e-60),
    a_mean_that_float32_lacks=setting("modalities", "audio", "mean", 0, to=1e60),
)
cases(
    "what it says of audio does not fit together",
    no_deviation=setting("modalities", "audio", "std", to=None),
    too_few_means=setting("modalities", "audio", "mean", to=[0.0]),
    a_width_below_1=setting("modalities", "audio", to={"width": -5, "steps": "own", "names": None, "mean": None,
                                                       "std": None}),
    no_steps=setting("modalities", "audio", "median_steps", to=0),
    steps_without_end=setting("modalities", "audio", "median_steps", to=1 << 40),
    unknown_steps=setting("modalities", "audio", "steps", to="frames"),
)  # fmt: skip
cases("what it says of text does not fit together", a_mean_of_words=setting("modalities", "text", "mean", to=[]))
cases("its modalities are", other_order=lambda p: p.config.update(
    modalities=dict(reversed(p.config["modalities"].items()))), an_unknown_modality=lambda p: p.config["modalities"]
    .update(smell=p.config["modalities"]["audio"]), no_modality=setting("modalities", to={}))  # fmt: skip
cases("its protocol is", no_protocol=setting("protocol", to="mosaic"))
cases("what was missing in its training is", unknown_missing=setting("missing", to="sometimes"))
cases("what stands for a dropped modality is", unknown_absent=setting("absent", to="ones"))
cases(
    "its vocabulary has the unknown piece",
    pieces_without_end=setting("vocabulary", "longest", to=10**12),
    pieces_below_0=setting("vocabulary", "longest", to=-1),
    an_unknown_piece_below_0=setting("vocabulary", "unknown", to=-1),
)
cases("its text encoder does not go with its modalities", no_encoder=setting("text_encoder", to=None))
cases("it has no members, or not a file of weights for each", no_members=setting("members", to=[]),
      the_same_member_again=lambda p: p.config["members"].append(p.config["members"][0]),
      other_weights=setting("members", 0, "weights", to="other.safetensors"))  # fmt: skip


# Names of files.


def named(name: str) -> Case:
    """A package that names a file that is not to be written or read."""

    def make(p: Package) -> Any:
        p.finish()
        p.config["files"][name] = p.config["files"][WEIGHTS]
        p.config["members"][0]["weights"] = name
        p.write("config.json", json.dumps(p.config))
        with zipfile.ZipFile(p.folder.with_suffix(".zip"), "w") as archive:
            archive.write(p.folder / "config.json", "config.json")
            archive.write(p.folder / WEIGHTS, name)
        p.given = p.folder.with_suffix(".zip")
        return AS_IT_IS

    return make


cases(
    "is no file of a package",
    up=named("../up.safetensors"),
    far_up=named("text_encoder/../../up.safetensors"),
    absolute=named("/tmp/absolute.safetensors"),
    backslashes=named("..\\up.safetensors"),
    a_drive=named("C:up.safetensors"),
    deep=named("a/b/c.safetensors"),
    a_new_line=named("x.safetensors\n"),
    a_dot=named("."),
    its_card=named("README.md"),
)


@case("is no file of a package")
def a_file_that_nothing_reads(p: Package) -> None:
    p.write("setup.sh", "touch ran")


# Zips.


@case("is no package, neither a folder nor a whole .zip of one")
def no_zip(p: Package) -> Any:
    p.given = p.folder / WEIGHTS
    return AS_IT_IS


@case("is no package, neither a folder nor a whole .zip of one")
def a_zip_cut_off(p: Package) -> Any:
    p.zipped().close()
    p.given.write_bytes(p.given.read_bytes()[:-100])  # type: ignore[union-attr]
    return AS_IT_IS


@case("has no config.json")
def a_zip_of_a_folder(p: Package) -> Any:
    p.given = p.folder.with_suffix(".zip")
    with zipfile.ZipFile(p.given, "w") as archive:
        archive.write(p.folder / "config.json", "package/config.json")
    return AS_IT_IS


@case("has a file twice")
def a_name_twice(p: Package) -> Any:
    with p.zipped() as archive:
        archive.writestr("config.json", "{}")
    return AS_IT_IS


@case("is no package")
def an_encrypted_zip(p: Package) -> Any:
    p.zipped().close()
    data = bytearray(p.given.read_bytes())  # type: ignore[union-attr]
    for mark, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(mark, place + 1)) >= 0:
            data[place + flag] |= 1
    p.given.write_bytes(data)  # type: ignore[union-attr]
    return AS_IT_IS


@case("unpack to")
def a_zip_bomb(p: Package) -> Any:
    p.write(WEIGHTS, bytes(1 << 27))
    p.zipped(compression=zipfile.ZIP_DEFLATED, compresslevel=1).close()
    return AS_IT_IS


@case("unpack to")
def many_small_zip_bombs(p: Package) -> Any:
    (p.folder / WEIGHTS).unlink()
    names = [f"model-{i}.safetensors" for i in range(12)]
    for name in names:
        p.write(name, bytes(15 << 20))
    member = p.config["members"][0]
    p.config["members"] = [member | {"weights": name} for name in names]
    p.zipped(compression=zipfile.ZIP_DEFLATED, compresslevel=1).close()
    return AS_IT_IS


def claimed(size: int) -> Case:
    """A zip whose directory says another size of the weights than it has, as does ``config.json``."""

    def make(p: Package) -> Any:
        p.finish()
        p.config["files"][WEIGHTS]["size"] = size
        p.write("config.json", json.dumps(p.config))
        p.given = p.folder.with_suffix(".zip")
        with zipfile.ZipFile(p.given, "w") as archive:
            for path in p.folder.rglob("*"):
                if path.is_file():
                    archive.write(path, str(path.relative_to(p.folder)))
            info = archive.getinfo(WEIGHTS)
            info.file_size, info.compress_size = size, size
        return AS_IT_IS

    return make


cases("unpack to", a_terabyte_claimed=claimed(1 << 40))
cases("is no", a_size_that_lies=claimed(100))


@case("is not the file that config.json says")  # but a text
def a_link_in_a_zip(p: Package) -> Any:
    p.zipped().close()
    with zipfile.ZipFile(p.given) as archive:
        kept = {info.filename: archive.read(info) for info in archive.infolist()}
    target = b"/etc/passwd"
    config = json.loads(kept["config.json"])
    config["files"][WEIGHTS] = {"size": len(target), "sha256": ""}
    kept |= {"config.json": json.dumps(config).encode(), WEIGHTS: target}
    with zipfile.ZipFile(p.given, "w") as archive:
        for name, data in kept.items():
            info = zipfile.ZipInfo(name)
            if name == WEIGHTS:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, data)
    return AS_IT_IS


# Weights.


@case("cannot be loaded")
def a_pickle_for_weights(p: Package) -> None:
    (p.folder / WEIGHTS).unlink()
    torch.save({"x": torch.ones(2), "y": Calls(os.system, "touch ran")}, p.folder / WEIGHTS)


@case("cannot be loaded")
def weights_larger_than_the_file(p: Package) -> None:
    p.header(lambda h: h["fusion.bias"].update(data_offsets=[0, 1 << 40]))


@case("cannot be loaded")
def a_trillion_elements(p: Package) -> None:
    p.header(lambda h: h["fusion.bias"].update(shape=[10**12]))


@case("cannot be loaded")
def overlapping_weights(p: Package) -> None:
    p.header(lambda h: h["fusion.bias"].update(data_offsets=[8, 12]))


@case("cannot be loaded")
def a_header_longer_than_the_file(p: Package) -> None:
    p.write(WEIGHTS, struct.pack("<Q", 1 << 50) + b"{}")


@case("fusion.bias has the shape")
def no_elements_of_a_trillion(p: Package) -> None:
    p.weights(lambda w: w.update({"fusion.bias": torch.empty(0, 10**12)}))


@case("has the shape None in the weights")
def a_weight_missing(p: Package) -> None:
    p.weights(lambda w: w.pop("fusion.bias"))


@case("has the shape (3,) in the weights, None in the model")
def a_weight_too_many(p: Package) -> None:
    p.weights(lambda w: w.update(other=torch.ones(3)))


@case("has the shape")
def weights_of_another_model(p: Package) -> None:
    p.config["model"]["_target_"] = "mmsa_lightning.models.tfn.TFN"
    del p.config["model"]["rank"]
    p.config["model"] |= {"fusion_width": 8, "fusion_dropout": 0.1, "limit": None}


@case("has the shape")
def a_member_of_another_shape(p: Package) -> None:
    p.write("other.safetensors", (p.folder / WEIGHTS).read_bytes())
    p.weights(lambda w: w.update({"fusion.weights": torch.ones(4)}))
    p.config["members"].append(p.config["members"][0] | {"weights": "other.safetensors"})


def of_dtype(dtype: torch.dtype) -> Case:
    return lambda p: p.weights(lambda w: w.update({"fusion.bias": w["fusion.bias"].to(dtype)}))


cases(
    "fusion.bias is of",
    half=of_dtype(torch.float16),
    whole_numbers=of_dtype(torch.int64),
    double=of_dtype(torch.float64),
)
cases(
    "has weights that are infinite or not a number",
    weights_of_nan=lambda p: p.weights(lambda w: w["fusion.bias"].fill_(torch.nan)),
    weights_of_infinity=lambda p: p.weights(lambda w: w["fusion.weights"].fill_(-torch.inf)),
)
cases(
    "the prediction for a first utterance is infinite or not a number",
    weights_that_overflow=lambda p: p.weights(lambda w: [x.fill_(3e38) for x in w.values() if x.is_floating_point()]),
)


# Arguments of the model.


def argument(name: str, value: Any) -> Case:
    return setting("model", name, to=value)


cases(
    "does not fit its",
    a_billion_wide=argument("text_out", 10**9),
    a_trillion_ranks=argument("rank", 10**12),
    a_large_number_below_0=argument("rank", -(10**12)),
    a_million_ranks=argument("rank", 1 << 20),
)
cases("rank=0", no_rank=argument("rank", 0))
cases("has the shape", other_widths=argument("text_out", 65))
cases("wants", text_for_a_width=argument("rank", "3"), a_fraction=argument("rank", 1e9))
cases("takes no", an_unknown_argument=argument("trust_remote_code", True), dims=argument("dims", {"text": 12}))


def target(name: str) -> Case:
    return argument("_target_", name)


cases(
    "its model is not one of mmsa_lightning.models",
    os_system=target("os.system"),
    a_linear=target("torch.nn.Linear"),
    a_store=target("mmsa_lightning.data.datamodule.StoreDataModule"),
    a_run=target("mmsa_lightning.experiment.app.main"),
    a_path=target("../../tmp/x.X"),
    a_dotted_path=target("mmsa_lightning.models.../x.X"),
    an_encoder=lambda p: p.config.update(
        model={"_target_": "mmsa_lightning.models.layers.text_encoder.TextEncoder", "name": "secret", "dropout": 0.1}
    ),
    no_target=target(""),
    code_that_is_not_there=target("toy.Toy"),
)
cases("model._target_=", no_class=target("mmsa_lightning.models.tfn.Nothing"))
cases("takes no", a_part_of_a_model=target("mmsa_lightning.models.lmf.LowRankFusion"))


@case("its text encoder reads 0 word pieces")
def a_part_that_is_no_model(p: Package) -> None:
    p.config["model"] = {"_target_": "mmsa_lightning.models.self_mm.Head", "inputs": 3, "hidden": 2, "dropout": 0.1}
    (p.folder / WEIGHTS).unlink()
    head = {"feature.1": (2, 3), "sentiment.0": (2, 2), "sentiment.2": (1, 2)}
    weights = {f"{name}.weight": torch.ones(shape) for name, shape in head.items()}
    save_file(weights | {f"{name}.bias": torch.ones(head[name][0]) for name in head}, p.folder / WEIGHTS)


# The text encoder.

cases(
    "does not fit its",
    a_wide_encoder=encoder(hidden_size=10**9),
    a_billion_layers=encoder(num_hidden_layers=10**9),
    a_thousand_layers=encoder(num_hidden_layers=1000),
    a_trillion_words=encoder(vocab_size=10**12),
    a_trillion_positions=encoder(max_position_embeddings=10**12),
    many_positions=encoder(max_position_embeddings=1 << 20),
    a_large_vocabulary_below_0=encoder(vocab_size=-(10**9)),
    many_labels=encoder(num_labels=10**7),
)
cases("text_encoder", a_size_below_0=encoder(hidden_size=-32), layers_of_a_fraction=encoder(num_hidden_layers=1e9),
      no_heads=encoder(num_attention_heads=0), text_for_layers=encoder(num_hidden_layers="9"),
      an_unknown_activation=encoder(hidden_act="__import__('os').system('touch ran')"),
      a_decoder=encoder(is_decoder=True), a_gpt=encoder(model_type="gpt2"), a_t5=encoder(model_type="t5"),
      a_bart=encoder(model_type="bart"), an_unknown_family=encoder(model_type="evil"),
      no_family=encoder(model_type=None), an_image_model=encoder(model_type="vit"))  # fmt: skip
cases(
    "the model needs more than",
    groups_of_groups=encoder(
        model_type="albert",
        num_hidden_layers=1,
        num_hidden_groups=12,
        inner_group_num=15,
        hidden_size=1,
        num_attention_heads=1,
    ),
    many_networks=encoder(model_type="mobilebert", num_feedforward_networks=1 << 14),
    a_table_of_sines=encoder(model_type="distilbert", sinusoidal_pos_embds=True, max_position_embeddings=1 << 14,
                             hidden_size=1 << 14, num_attention_heads=2, hidden_dim=4),
    a_wide_convolution=encoder(model_type="convbert", conv_kernel_size=1 << 14, hidden_size=1 << 12,
                               embedding_size=32, num_attention_heads=2),
    many_relative_positions=encoder(model_type="deberta-v2", relative_attention=True, hidden_size=1 << 10,
                                    max_relative_positions=1 << 16, pos_att_type=["p2c", "c2p"], position_buckets=-1),
)  # fmt: skip


@case("has the shape")
def code_of_an_encoder(p: Package) -> None:
    names = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoTokenizer": ["evil.T", None]}
    p.write("text_encoder/config.json", json.dumps({"model_type": "bert", "auto_map": names, "vocab_size": 7}))


@case("text_encoder")
def code_of_an_unknown_family(p: Package) -> None:
    p.edit(ENCODER, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"}, trust_remote_code=True)


@case("text_encoder/evil.py is no file of it")
def a_module_beside_the_encoder(p: Package) -> Any:
    p.edit(ENCODER, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"}, trust_remote_code=True)
    p.finish()
    p.write("text_encoder/evil.py", "open('ran', 'w')")
    return AS_IT_IS


cases("is no file of a package", a_module_named=lambda p: p.write("text_encoder/evil.py", "open('ran', 'w')"))
cases("is not JSON", a_damaged_encoder=lambda p: p.write(ENCODER, "{"))
cases("holds no JSON object", an_encoder_of_a_list=lambda p: p.write(ENCODER, "[]"))


# The tokenizer.


@case("has not the vocabulary that it says")
def another_vocabulary(p: Package) -> None:
    text = (p.folder / TOKENIZER).read_text(encoding="utf-8").replace('"movie"', '"moovie"')
    p.write(TOKENIZER, text)


@case("no tokenizer")
def a_tokenizer_cut_off(p: Package) -> None:
    p.write(TOKENIZER, (p.folder / TOKENIZER).read_bytes()[:5000])


def tokenizer_settings(**changes: Any) -> Case:
    return lambda p: p.edit(SETTINGS, **changes)


cases(
    "text_encoder/tokenizer_config.json names",
    a_tokenizer_from_a_device=tokenizer_settings(tokenizer_file="/dev/zero"),
    a_vocabulary_from_elsewhere=tokenizer_settings(vocab_file="/etc/passwd"),
)
cases(
    "no tokenizer",
    a_class_that_is_none=tokenizer_settings(tokenizer_class=["BertTokenizer"]),
)
cases("no file of a package", a_pickled_vocabulary=lambda p: p.write("text_encoder/vocab.pkl", b"cos\nsystem\n."))


@case("bytes, which is no package's")
def a_huge_tokenizer(p: Package) -> None:
    p.write(TOKENIZER, b"{" + b" " * (65 << 20) + b"}")


@case("no tokenizer")
def a_nested_tokenizer(p: Package) -> None:
    p.write(TOKENIZER, b'{"a":' * (1 << 20))


# Code of its author.

TOY = """
open("ran", "w")
import torch
class Toy(torch.nn.Module):
    def __init__(self, dims): super().__init__()
"""


def own_code(name: str) -> Case:
    def make(p: Package) -> None:
        p.write(name, TOY)
        p.config |= {"code": name, "model": {"_target_": f"{name.removesuffix('.py')}.Toy"}}

    return make


cases(
    "carries code of its author",
    code=own_code("toy.py"),
    code_named_as_a_module=own_code("torch.py"),
    code_named_as_ours=own_code("mmsa_lightning.py"),
)


@case("or not its code")
def code_from_elsewhere(p: Package) -> None:
    p.config |= {"code": "../toy.py", "model": {"_target_": "../toy.Toy"}}
    p.more = ["--allow-code"]


@case("its model is not one of")
def allowed_code_that_is_not_named(p: Package) -> None:
    p.config |= {"model": {"_target_": "toy.Toy"}}
    p.more = ["--allow-code"]


SOUND = {  # packages that load all the same
    name: ("", change)
    for name, change in {
        "as_it_is": lambda p: None,
        "a_hub_name_for_the_encoder": argument("text_encoder", "nobody/none"),
        "a_path_for_the_encoder": argument("text_encoder", "secret"),
        "a_mark_that_is_no_word": encoder(bos_token_id=40_000),
        "a_kernel_of_the_hub": encoder(attn_implementation="kernels-community/evil"),
        "code_of_a_tokenizer": tokenizer_settings(auto_map={"AutoTokenizer": ["evil.T", None]}, trust_remote_code=True),
        "a_tokenizer_of_a_module": tokenizer_settings(tokenizer_class="os"),
        "a_zip": lambda p: (p.zipped().close(), AS_IT_IS)[1],
    }.items()
}
