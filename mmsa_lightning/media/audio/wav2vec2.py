"""The last layer of an audio encoder of transformers: wav2vec 2.0, HuBERT, WavLM and their kin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoFeatureExtractor, AutoModel

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.audio import Frames
from mmsa_lightning.models.layers import pretrained


class Wav2Vec2:
    """Hidden states of the last layer, as wide as the encoder and as many a second as its strides say.

    Args:
        name: a directory, or a name on the Hugging Face hub.

    Raises:
        UserError: it cannot be loaded, or reads something else than sound.
    """

    def __init__(self, name: str) -> None:
        local = Path(name).is_dir()
        try:
            pretrained.check_files(name)
            self.reader: Any = AutoFeatureExtractor.from_pretrained(name, local_files_only=local)
            self.encoder: Any = AutoModel.from_pretrained(name, local_files_only=local, trust_remote_code=False).eval()
        except Exception as error:  # for a hub or config problem, transformers and torch raise nearly anything
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"wav2vec2:{name} cannot be loaded ({reason}): give a directory or a name on the hub"
            ) from error
        strides = getattr(self.encoder.config, "conv_stride", None)
        if self.encoder.main_input_name != "input_values" or strides is None:
            raise UserError(f"wav2vec2:{name} is a {self.encoder.config.model_type} model, which reads no sound waves")
        self.sample_rate = int(self.reader.sampling_rate)
        self.rate = self.sample_rate / float(np.prod(strides))
        self.shortest = _receptive_field(self.encoder.config.conv_kernel, strides)
        self.names = [f"hidden_{i + 1}" for i in range(self.encoder.config.hidden_size)]
        self.versions = {
            "transformers": transformers.__version__,
            "weights": " ".join(filter(None, (name, pretrained.encoder_hash(name)))),
        }

    @torch.inference_mode()
    def __call__(self, sound: np.ndarray) -> Frames:
        """Of float32 (samples,) in [-1, 1]."""
        padded = np.pad(sound, (0, max(0, self.shortest - len(sound))))
        given = self.reader(padded, sampling_rate=self.sample_rate, return_tensors="pt")
        values = self.encoder(given["input_values"]).last_hidden_state[0].numpy()
        start = np.arange(len(values)) / self.rate
        return Frames(np.stack([start, start + 1 / self.rate], axis=1), values.astype(np.float32))


def _receptive_field(kernels: list[int], strides: list[int]) -> int:
    """Samples that one frame is made of."""
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field, step = field + (kernel - 1) * step, step * stride
    return field
