"""A study on disk: manifests, NIfTI in and out, geometry checks, atomic writes."""

from rankseg_med.studies.atomic import atomic_write
from rankseg_med.studies.errors import GridError, StudyError
from rankseg_med.studies.grid import check_same_grid
from rankseg_med.studies.header import open_nifti
from rankseg_med.studies.image import load_image, load_label_map
from rankseg_med.studies.label_map import write_label_map
from rankseg_med.studies.listing import Study, find_studies
from rankseg_med.studies.manifest import ImageEntry, LabelledEntry, Manifest
from rankseg_med.studies.naming import case_id
from rankseg_med.studies.resampling import resample_label_map

__all__ = [
    "GridError",
    "ImageEntry",
    "LabelledEntry",
    "Manifest",
    "Study",
    "StudyError",
    "atomic_write",
    "case_id",
    "check_same_grid",
    "find_studies",
    "load_image",
    "load_label_map",
    "open_nifti",
    "resample_label_map",
    "write_label_map",
]
