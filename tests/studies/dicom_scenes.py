"""DICOM series that lie in every way, and what others find in them."""

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from rankseg_med.studies import load_image
from tests.studies.dicom_files import write_series

FRAME = "1.2.826.0.1.9"
NAMES = {1: "liver", 2: "tumour"}
SHAPE = (13, 11, 9)

_TURNED = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
_IDENTITY = np.eye(3)

TILTED = "tilted gantry"
# Columns: along a row, down a column, and from slice to slice; not always right-handed.
DIRECTIONS = {
    "axial": _IDENTITY,
    "axial, last slice first": np.diag([1.0, 1.0, -1.0]),
    "prone": np.diag([-1.0, -1.0, 1.0]),
    "feet first": np.diag([-1.0, 1.0, -1.0]),
    "mirrored": np.diag([-1.0, 1.0, 1.0]),
    "sagittal": _IDENTITY[:, [1, 2, 0]],
    "sagittal, upside down": _IDENTITY[:, [1, 2, 0]] * [1, -1, -1],
    "coronal": _IDENTITY[:, [0, 2, 1]] * [1, -1, 1],
    "oblique": _TURNED,
    "oblique, last slice first": _TURNED * [1, 1, -1],
    TILTED: np.array([[1, 0, 0], [0, 1, np.sin(0.3)], [0, 0, np.cos(0.3)]]),
}


def write_scene(
    folder: Path, kind: str = "axial", shape=SHAPE, spacing_mm=(0.7, 1.3), seed: int = 0, **tags: str
) -> Path:
    """A series of blobs without any symmetry: above 1000 tumour, above 500 liver."""
    rng = np.random.default_rng(seed)
    values = gaussian_filter(rng.normal(size=shape), 1.0)
    ranks = values.ravel().argsort().argsort().reshape(shape) / values.size
    voxels = np.where(ranks > 0.9, 1200, np.where(ranks > 0.7, 700, 0)).astype(np.int16)
    directions = DIRECTIONS[kind]
    positions = [np.array([-40.5, 12.25, 100]) + 2.5 * k * directions[:, 2] for k in range(shape[2])]
    return write_series(
        folder,
        voxels,
        positions=positions,
        orientation=directions[:, :2].T.ravel(),
        spacing_mm=spacing_mm,
        **{"t0020_0052": FRAME, "t0028_0030": f"{spacing_mm[1]}\\{spacing_mm[0]}", **tags},
    )


def segmented(folder: Path) -> np.ndarray:
    """The label map of a series by its voxels, as a network would find it."""
    image = load_image(folder)[0].numpy()
    return (image > 500).astype(np.uint8) + (image > 1000)


class Truth:
    """What SimpleITK finds at places in the patient; it takes a tilted gantry for an upright one."""

    def __init__(self, folder: Path) -> None:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        self.image = reader.Execute()
        values = SimpleITK.GetArrayFromImage(self.image).transpose(2, 1, 0)
        self.labels = (values > 500).astype(np.uint8) + (values > 1000)

    def index_of(self, places_mm: np.ndarray) -> np.ndarray:
        """Voxel indices `(..., 3)` of places `(..., 3)`, fractions included."""
        flat = [self.image.TransformPhysicalPointToContinuousIndex(place) for place in places_mm.reshape(-1, 3)]
        return np.reshape(flat, places_mm.shape)


def slices_of(folder: Path) -> dict[str, pydicom.Dataset]:
    """What pydicom reads of each slice, by its UID."""
    return {(slice_ := pydicom.dcmread(path)).SOPInstanceUID: slice_ for path in folder.glob("*.dcm")}


def labels_of(slice_: pydicom.Dataset) -> np.ndarray:
    """The label map of one slice by its voxels, `(rows, columns)`."""
    return (slice_.pixel_array > 500).astype(np.uint8) + (slice_.pixel_array > 1000)


def with_uids(series: Path, folder: Path) -> Path:
    """A copy of the real series, whose anonymiser left the UIDs of slices in their files' headers alone."""
    folder.mkdir()
    for file in series.iterdir():
        slice_ = pydicom.dcmread(file)
        slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        slice_.save_as(folder / f"{file.name}.dcm")
    return folder
