"""Videos of tones with text and labels, and models of what is extracted from them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import videos

from mmsa_lightning.cli import main
from mmsa_lightning.inference.export import package

TEXTS = ["a good film", "it was bad", "the film was fine", "awful and dull", "great", "it was a film"]


@contextmanager
def tones_are_voices() -> Iterator[None]:
    """Speech itself is in recordings, which are not everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmsa_lightning.media.voice.probabilities", lambda sound: np.ones(-(-len(sound) // 512)))
        yield


def write(folder: Path, text_encoder: str) -> None:
    """Six videos and their list, stores of them on the steps of words and on their own, and a package of each."""
    rows = ["id,video,text,label,split"]
    for i, text in enumerate(TEXTS):
        videos.write(folder / f"v{i}.mp4", 1.0, sound=videos.tone(1.0, 100.0 * (i + 1)))
        rows.append(f"v{i}$_$0,v{i}.mp4,{text},{i - 2.5},{('train', 'valid', 'test')[i // 2]}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    with tones_are_voices():
        main(["data", "extract", str(folder / "list.csv"), "--out", str(folder / "aligned.h5"), "--vision", "none"])
    shutil.move(folder / "aligned_unaligned.h5", folder / "unaligned.h5")
    for name, model in (("aligned", "interactive_attention"), ("unaligned", "self_mm")):
        data = ["data=own", f"data.path={folder / name}.h5", f"text_encoder={text_encoder}", f"runs={folder / name}"]
        short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
        main(["train", *data, *short, f"model={model}"])
        (run,) = (path.parent for path in (folder / name).rglob("result.json"))
        package([run], folder / f"{name}.zip")
