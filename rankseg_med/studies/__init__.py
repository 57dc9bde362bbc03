"""A study on disk: data lists, images in (NIfTI, NRRD, MetaImage, DICOM), label maps out, geometry, atomic writes."""

from rankseg_med.studies.atomic import atomic_write, naming_the_file, remove_unfinished
from rankseg_med.studies.companions import files_read
from rankseg_med.studies.errors import DataListError, GridError, StudyError
from rankseg_med.studies.faults import Fault, Listing
from rankseg_med.studies.fingerprint import content_digest, fingerprint
from rankseg_med.studies.geometry import Grid
from rankseg_med.studies.grid import check_same_grid
from rankseg_med.studies.header import open_nifti
from rankseg_med.studies.image import load_image, load_images, load_label_map
from rankseg_med.studies.json_file import write_json
from rankseg_med.studies.label_map import write_label_map
from rankseg_med.studies.listing import find_studies, list_studies, survey_studies
from rankseg_med.studies.manifest import ImageEntry, LabelledEntry, Manifest
from rankseg_med.studies.naming import case_id
from rankseg_med.studies.processes import birth_of, is_running
from rankseg_med.studies.reading import check_regular_file
from rankseg_med.studies.references import by_case, find_predictions, find_references, list_predictions, list_references
from rankseg_med.studies.resampling import resample_label_map
from rankseg_med.studies.sidecar import OutputFile, Sidecar, SidecarStatus
from rankseg_med.studies.source import open_image, read_grid
from rankseg_med.studies.study import Study

__all__ = [
    "DataListError",
    "Fault",
    "Grid",
    "GridError",
    "ImageEntry",
    "LabelledEntry",
    "Listing",
    "Manifest",
    "OutputFile",
    "Sidecar",
    "SidecarStatus",
    "Study",
    "StudyError",
    "atomic_write",
    "birth_of",
    "by_case",
    "case_id",
    "check_regular_file",
    "check_same_grid",
    "content_digest",
    "files_read",
    "find_predictions",
    "find_references",
    "find_studies",
    "fingerprint",
    "is_running",
    "list_predictions",
    "list_references",
    "list_studies",
    "load_image",
    "load_images",
    "load_label_map",
    "naming_the_file",
    "open_image",
    "open_nifti",
    "read_grid",
    "remove_unfinished",
    "resample_label_map",
    "survey_studies",
    "write_json",
    "write_label_map",
]
