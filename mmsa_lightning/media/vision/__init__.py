"""What a face tells, frame by frame: one extractor a file, by the name that the command takes."""

from mmsa_lightning.media.vision.face_mesh import FaceMesh
from mmsa_lightning.media.vision.openface import OpenFace
from mmsa_lightning.media.vision.track import Track

__all__ = ["EXTRACTORS", "FaceMesh", "OpenFace", "Track"]

EXTRACTORS = {
    "face_mesh": FaceMesh,
    "openface": OpenFace,
}
