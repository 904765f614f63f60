"""``mmsa data …``: from files and videos to stores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from mmsa_lightning.cli.parser import Command, Encoding, KeepCase, Separator, Store, argument, data, option
from mmsa_lightning.errors import UserError


@data.command("import", cls=Command)
def import_(
    source: Annotated[
        list[Path],
        argument(
            "SOURCE", "Pickle of MMSA, MulT, MISA, MMIM or MAG-BERT, a folder, a CSV, or one or more .csd of the SDK."
        ),
    ],
    dataset: Annotated[str, option("NAME", "mosi, mosei, sims or a name of your own.")],
    out: Annotated[Path | None, option("PATH", "The store; default: stores/<dataset>.h5.")] = None,
    text_encoder: Annotated[
        str | None,
        option("NAME", "Tokenize for it: minilm (default), a hub name, a directory; or, of token ids, whose they are."),
    ] = None,
    keep_case: KeepCase = False,
    split: Annotated[
        tuple[float, float, float] | None,
        option("TRAIN VALID TEST", "Divide by video in these shares: all if there are no splits, valid if no test."),
    ] = None,
    label_range: Annotated[
        tuple[float, float] | None,
        option("LOW HIGH", "Lowest and highest label; default: those of mosi, mosei and sims, else those found."),
    ] = None,
    separator: Separator = None,
    encoding: Encoding = None,
    audio: Annotated[
        Path | None,
        option("X.npz", "Audio features to add, or to use instead of the source's; beside .csd also a .csd."),
    ] = None,
    vision: Annotated[Path | None, option("X.npz", "Vision features, likewise.")] = None,
    text: Annotated[Path | None, option("X.npz", "Text features, likewise.")] = None,
    word_vectors: Annotated[Path | None, option("X.npz", "Text features: a vector for each word of the text.")] = None,
    text_features: Annotated[Path | None, option("X.npz", "The older name of --text.", hidden=True)] = None,
    tokenizer: Annotated[str | None, option("NAME", "The older name of --text-encoder.", hidden=True)] = None,
) -> None:
    """Read a published file, check it, and write a store."""
    from mmsa_lightning.data.importer import import_file
    from mmsa_lightning.data.releases import LABEL_RANGES, count_warning, range_warning
    from mmsa_lightning.data.store import Store

    if text_encoder and tokenizer and text_encoder != tokenizer:
        raise UserError(f"--text-encoder {text_encoder} and its older name, --tokenizer {tokenizer}, differ: give one")
    out = out or Path("stores", f"{dataset}.h5")
    with _saying_what_is_replaced(out):
        meta = import_file(
            source[0],
            dataset,
            out,
            more=source[1:],
            tokenizer=text_encoder or tokenizer,
            keep_case=keep_case,
            split=split,
            label_range=label_range,
            separator=separator,
            encoding=encoding,
            text=text or text_features,
            audio=audio,
            vision=vision,
            word_vectors=word_vectors,
        )
    for line in meta.report:
        print(line)
    low, high = meta.label_range
    if label_range is None and dataset not in LABEL_RANGES:
        print(
            f"labels: found in [{low:g}, {high:g}] in all splits, taken as the range; --label-range LOW HIGH states it"
        )
    train, valid, test = (len(split) for split in Store(out).splits.values())
    for warning in filter(None, (count_warning(dataset, (train, valid, test)), range_warning(low, high))):
        print(f"warning: {warning}", file=sys.stderr)
    counts = f"{train} train, {valid} valid, {test} test"
    print(f"{out}: {counts}, read as {meta.layout} ({meta.release or 'no known release'})")
    print(f"next: mmsa data inspect {out}")


@data.command(cls=Command)
def extract(
    videos: Annotated[Path, argument("VIDEOS", "A CSV of id, video, start, end, text, label, split; or a folder.")],
    out: Annotated[Path, option("PATH", "A store, NAME.h5; or a folder of files, if there are no labels.")],
    dataset: Annotated[str, option("NAME", "mosi, mosei, sims or a name of your own.")] = "own",
    audio: Annotated[str, option("NAME", "librosa, opensmile, wav2vec2:NAME or none.")] = "librosa",
    vision: Annotated[str, option("NAME", "face_mesh, openface or none.")] = "face_mesh",
    words: Annotated[
        str, option("NAME", "Who hears words where no text is given: pocketsphinx, a Whisper (a directory), none.")
    ] = "pocketsphinx",
    text_encoder: Annotated[str | None, option("NAME", "Tokenize for it: minilm (default), a name, a folder.")] = None,
    keep_case: KeepCase = False,
    split: Annotated[
        tuple[float, float, float] | None, option("TRAIN VALID TEST", "Divide by video in these shares.")
    ] = None,
    label_range: Annotated[
        tuple[float, float] | None, option("LOW HIGH", "Lowest and highest label; default: those found.")
    ] = None,
    separator: Separator = None,
    encoding: Encoding = None,
    workers: Annotated[int, option("N", "How many processes.")] = 1,
) -> None:
    """Read videos: words, sound and face of each utterance, as a store."""
    from mmsa_lightning.media.install import required

    with required():
        from mmsa_lightning.media.extract import Importing, Settings
        from mmsa_lightning.media.extract import extract as run

        importing = Importing(dataset, split, label_range, text_encoder, keep_case)
        found = run(
            videos,
            out,
            Settings(audio, vision, words),
            importing,
            workers=workers,
            separator=separator,
            encoding=encoding,
        )
    for line in found.report:
        print(line)
    print("written: " + ", ".join(map(str, found.written)))
    if found.failed:
        raise UserError(
            f"{len(found.failed)} utterances could not be extracted, {', '.join(list(found.failed)[:3])}: see above; "
            "the others are written, and the same command tries these again"
        )
    if out.suffix:
        print(f"next: mmsa data inspect {out}")
    else:
        features = "".join(f" --{path.stem} {path}" for path in found.written if path.suffix == ".npz")
        print(f"next: mmsa predict MODEL {found.written[0]}{features} --out predictions.csv")


@data.command(cls=Command)
def encode(
    store: Store,
    text_encoder: Annotated[
        str, option("NAME", "Its name on the hub, a directory, minilm or mpnet.")
    ] = "bert-base-uncased",
    out: Annotated[Path | None, option("PATH", "The new store; default: STORE's name and the encoder's.")] = None,
) -> None:
    """Encode a store's tokens with a frozen text encoder, for text=features."""
    from mmsa_lightning.data.encode import encode_store
    from mmsa_lightning.data.vocabularies import renamed
    from mmsa_lightning.training.trainer import quieten

    quieten()
    out = out or renamed(store, text_encoder)
    with _saying_what_is_replaced(out):
        meta = encode_store(store, text_encoder, out)
    print(f"{out}: {meta.report[-1]}")
    print(f"next: python train.py data=… data.path={out} text=features")


@data.command(cls=Command)
def tokenize(
    store: Store,
    text_encoder: Annotated[str, option("NAME", "Whose tokenizer: minilm, a hub name or a directory.")],
    out: Annotated[Path | None, option("PATH", "The new store; default: STORE's name and the encoder's.")] = None,
    keep_case: KeepCase = False,
) -> None:
    """Tokenize a store's text again, for another text encoder."""
    from mmsa_lightning.data.tokenize import tokenize_store
    from mmsa_lightning.data.vocabularies import renamed

    out = out or renamed(store, text_encoder)
    with _saying_what_is_replaced(out):
        meta = tokenize_store(store, text_encoder, out, keep_case=keep_case)
    for line in meta.report:
        print(line)
    print(f"{out}: tokenized for {text_encoder}")
    print(f"next: mmsa data inspect {out}")


@data.command(cls=Command)
def inspect(path: Store) -> None:
    """Say what is in a store."""
    from mmsa_lightning.data.inspect import describe
    from mmsa_lightning.data.store import Store

    print(describe(Store(path)))


@contextmanager
def _saying_what_is_replaced(out: Path) -> Iterator[None]:
    from mmsa_lightning.data.store import held

    before = held(out)
    yield
    now = held(out)
    if before and now and before.content_sha256 != now.content_sha256:
        print(
            f"warning: {out} held other content until now, which runs on it need to be evaluated or packaged",
            file=sys.stderr,
        )
