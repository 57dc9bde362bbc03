"""A study on disk: data lists, images in (NIfTI, NRRD, MetaImage, DICOM), label maps out, geometry, atomic writes."""

from rankseg_med.studies.atomic import (
    atomic_folder,
    atomic_write,
    birth_of,
    check_new_file,
    check_new_folder,
    is_running,
    naming_the_file,
    remove_unfinished,
    write_json,
    write_text,
)
from rankseg_med.studies.bids.dataset import LOGS, is_dataset, records_beside
from rankseg_med.studies.bids.format import BidsFormat
from rankseg_med.studies.bids.names import check_names_differ, common_dataset
from rankseg_med.studies.dicom_formats import DicomSegFormat, RtstructFormat, format_of
from rankseg_med.studies.errors import DataListError, GridError, StudyError, check_regular_file
from rankseg_med.studies.formats import LabelMapFormat, NiftiFormat
from rankseg_med.studies.geometry import Grid, compare_grids, resample_label_map
from rankseg_med.studies.image import load_image, load_images, load_label_map
from rankseg_med.studies.label_map import (
    labels_named_in,
    read_label_names,
    write_fractions,
    write_label_map,
    write_label_names,
)
from rankseg_med.studies.listing import (
    by_case,
    find_predictions,
    find_references,
    find_studies,
    is_data_list,
    list_predictions,
    list_references,
    list_studies,
    survey_studies,
)
from rankseg_med.studies.manifest import ImageEntry, LabelledEntry, Manifest, relative_path
from rankseg_med.studies.nnunet import NnunetLabels, read_nnunet_labels
from rankseg_med.studies.probabilities import (
    ProbabilityStudy,
    ProbabilityVolume,
    count_channels,
    grid_of,
    open_probabilities,
)
from rankseg_med.studies.probability_files import (
    find_probabilities,
    find_validation,
    list_probabilities,
    validation_folders,
)
from rankseg_med.studies.readers import check_same_grid, files_read, is_image_file, open_image, read_grid
from rankseg_med.studies.readers.arrays import Axes
from rankseg_med.studies.readers.nifti_header import open_nifti
from rankseg_med.studies.sidecar import OutputFile, Sidecar, SidecarStatus, content_digest, fingerprint
from rankseg_med.studies.structures import LABEL_COLOURS, StructureSettings, read_structures
from rankseg_med.studies.study import Fault, Listing, Study, case_id, check_case_id, split_channel

__all__ = [
    "LABEL_COLOURS",
    "LOGS",
    "Axes",
    "BidsFormat",
    "DataListError",
    "DicomSegFormat",
    "Fault",
    "Grid",
    "GridError",
    "ImageEntry",
    "LabelMapFormat",
    "LabelledEntry",
    "Listing",
    "Manifest",
    "NiftiFormat",
    "NnunetLabels",
    "OutputFile",
    "ProbabilityStudy",
    "ProbabilityVolume",
    "RtstructFormat",
    "Sidecar",
    "SidecarStatus",
    "StructureSettings",
    "Study",
    "StudyError",
    "atomic_folder",
    "atomic_write",
    "birth_of",
    "by_case",
    "case_id",
    "check_case_id",
    "check_names_differ",
    "check_new_file",
    "check_new_folder",
    "check_regular_file",
    "check_same_grid",
    "common_dataset",
    "compare_grids",
    "content_digest",
    "count_channels",
    "files_read",
    "find_predictions",
    "find_probabilities",
    "find_references",
    "find_studies",
    "find_validation",
    "fingerprint",
    "format_of",
    "grid_of",
    "is_data_list",
    "is_dataset",
    "is_image_file",
    "is_running",
    "labels_named_in",
    "list_predictions",
    "list_probabilities",
    "list_references",
    "list_studies",
    "load_image",
    "load_images",
    "load_label_map",
    "naming_the_file",
    "open_image",
    "open_nifti",
    "open_probabilities",
    "read_grid",
    "read_label_names",
    "read_nnunet_labels",
    "read_structures",
    "records_beside",
    "relative_path",
    "remove_unfinished",
    "resample_label_map",
    "split_channel",
    "survey_studies",
    "validation_folders",
    "write_fractions",
    "write_json",
    "write_label_map",
    "write_label_names",
    "write_text",
]
