import gzip
import os
from itertools import permutations, product
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor

from rankseg_med.studies import (
    StudyError,
    labels_named_in,
    load_image,
    load_label_map,
    read_label_names,
    write_fractions,
    write_label_map,
    write_label_names,
)
from tests.studies.dicom_files import write_series
from tests.voxels import voxels_of

SHAPE = (4, 5, 6)
LABELS = np.arange(120, dtype=np.uint8).reshape(SHAPE)
GEOMETRY = [
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
]  # fmt: skip


def axis_orders_and_flips():
    """All 48 ways in which an array's axes can lie along the patient's."""
    for order, signs in product(permutations(range(3)), product([-1, 1], repeat=3)):
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3) * signs * [0.75, 1.25, 3.0])[:, order]
        affine[:3, 3] = [-91.5, 33.25, 710.0]
        yield affine


def oblique():
    """Turned by 20, 30 and 40 degrees about x, y and z."""
    affine = np.eye(4)
    for (i, j), degrees in zip([(1, 2), (0, 2), (0, 1)], [20, 30, 40], strict=True):
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = np.cos(np.deg2rad(degrees))
        turn[i, j] = -np.sin(np.deg2rad(degrees))
        turn[j, i] = -turn[i, j]
        affine = affine @ turn
    affine = affine @ np.diag([0.7, 0.7, 5.0, 1.0])
    affine[:3, 3] = [12.3, -45.6, 78.9]
    return affine


def raw_header(path):
    """The header as it lies in the file, read without nibabel's repairs."""
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    nifti2 = 540 in (int.from_bytes(content[:4], order) for order in ("little", "big"))
    dtype = (nib.Nifti2Header if nifti2 else nib.Nifti1Header).template_dtype
    header = np.frombuffer(content[: dtype.itemsize], dtype)[0]
    return (
        header
        if header["sizeof_hdr"] in (348, 540)
        else np.frombuffer(content[: dtype.itemsize], dtype.newbyteorder())[0]
    )


def assert_same_geometry(path, source):
    written, original = raw_header(path), raw_header(source)
    for field in GEOMETRY:
        np.testing.assert_array_equal(written[field], original[field], err_msg=field)


@pytest.mark.parametrize("affine", [*axis_orders_and_flips(), oblique()])
def test_lies_where_the_image_lies_for_nibabel_and_itk(save, tmp_path, affine):
    source = save("image.nii.gz", np.zeros(SHAPE, np.int16), affine, qform_code=1, sform_code=1)
    path = tmp_path / "label.nii.gz"
    write_label_map(LABELS, path, grid_of=source)

    written = nib.load(path)
    np.testing.assert_array_equal(written.affine, nib.load(source).affine)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), LABELS)

    itk, itk_source = SimpleITK.ReadImage(path), SimpleITK.ReadImage(source)
    assert itk.GetPixelID() == SimpleITK.sitkUInt8
    assert itk.GetSpacing() == itk_source.GetSpacing()
    assert itk.GetOrigin() == itk_source.GetOrigin()
    assert itk.GetDirection() == itk_source.GetDirection()
    for index in [(0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (1, 2, 3)]:
        position_lps = np.diag([-1, -1, 1]) @ (affine @ [*index, 1])[:3]
        np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint(index), position_lps, atol=1e-3)
        assert itk[index] == LABELS[index]


class TestHeader:
    @pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 2), (1, 1), (1, 4), (3, 2)])
    def test_keeps_both_transforms_and_their_codes(self, save, tmp_path, codes):
        source = save("image.nii.gz", np.zeros(SHAPE, np.int16), oblique())
        image = nib.load(source)
        image.set_qform(oblique(), code=codes[0])
        # Another place than the qform's, where only one of them counts.
        image.set_sform(oblique() if all(codes) else np.diag([0.7, 0.7, 5.0, 1.0]), code=codes[1])
        image.to_filename(source)
        assert (raw_header(source)["qform_code"], raw_header(source)["sform_code"]) == codes

        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=source)
        assert_same_geometry(tmp_path / "label.nii.gz", source)
        np.testing.assert_array_equal(nib.load(tmp_path / "label.nii.gz").affine, nib.load(source).affine)
        written, original = SimpleITK.ReadImage(tmp_path / "label.nii.gz"), SimpleITK.ReadImage(source)
        assert written.GetDirection() == original.GetDirection()
        assert written.GetOrigin() == original.GetOrigin()

    def test_keeps_what_nibabel_would_repair(self, save, rewrite_header, tmp_path):
        source = rewrite_header(
            save("image.nii.gz", np.zeros(SHAPE, np.int16)),
            pixdim=[0, 0.7, 0.7, 2.5, 0, 9, 9, 9],
            qform_code=7,
            xyzt_units=10,
        )
        write_label_map(LABELS, tmp_path / "label.nii", grid_of=source)
        assert_same_geometry(tmp_path / "label.nii", source)

    @pytest.mark.parametrize("pair", [False, True])
    @pytest.mark.parametrize("version", [1, 2])
    def test_keeps_the_version(self, save, tmp_path, version, pair):
        nifti = getattr(nib, f"Nifti{version}{'Pair' if pair else 'Image'}")
        source = save("image.hdr" if pair else "image.nii", np.zeros(SHAPE, np.int16), nifti=nifti)
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=source)
        assert type(nib.load(tmp_path / "label.nii.gz")) is getattr(nib, f"Nifti{version}Image")
        assert_same_geometry(tmp_path / "label.nii.gz", source)

    def test_big_endian_source(self, tmp_path):
        source = tmp_path / "image.nii"
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(">i2")
        nib.Nifti1Image(np.zeros(SHAPE, ">i2"), oblique(), header).to_filename(source)
        assert source.read_bytes()[:4] == (348).to_bytes(4, "big")
        write_label_map(LABELS, tmp_path / "label.nii", grid_of=source)
        assert_same_geometry(tmp_path / "label.nii", source)
        np.testing.assert_array_equal(
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "label.nii")).T, LABELS
        )

    def test_voxels_are_stored_as_they_are_without_scaling(self, save, rewrite_header, tmp_path):
        source = rewrite_header(save("image.nii", np.zeros(SHAPE, np.int16)), scl_slope=3.0, scl_inter=-1024.0)
        write_label_map(LABELS, tmp_path / "label.nii", grid_of=source)
        assert (tmp_path / "label.nii").read_bytes()[352:] == LABELS.tobytes(order="F")
        header = raw_header(tmp_path / "label.nii")
        assert header["datatype"] == 2
        assert header["bitpix"] == 8
        assert header["scl_slope"] in (0, 1)
        assert header["scl_inter"] == 0

    def test_nothing_about_the_patient_or_the_image_is_carried_over(self, tmp_path):
        image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4))
        for field in ("descrip", "aux_file", "db_name", "intent_name"):
            image.header[field] = b"DOE^JANE"
        image.header["cal_max"] = 400
        image.header["intent_code"] = 1001
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JANE"))
        image.to_filename(tmp_path / "image.nii")
        assert (tmp_path / "image.nii").read_bytes().count(b"DOE^JANE") == 5
        write_label_map(LABELS, tmp_path / "label.nii", grid_of=tmp_path / "image.nii")
        assert b"DOE" not in (tmp_path / "label.nii").read_bytes()
        header = raw_header(tmp_path / "label.nii")
        assert header["cal_max"] == 0
        assert header["intent_code"] == 0

    def test_equal_inputs_give_equal_bytes(self, save, tmp_path):
        source = save("image.nii.gz", np.zeros(SHAPE, np.int16))
        for name in ("a.nii.gz", "b.nii.gz"):
            write_label_map(LABELS, tmp_path / name, grid_of=source)
        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


class TestOtherGrids:
    """The voxel (3, 1, 2) lies where the other format's reader says."""

    def assert_lies_there(self, path, expected):
        written = nib.load(path)
        assert written.header["sform_code"] == 1
        np.testing.assert_array_equal(np.asanyarray(written.dataobj), LABELS)
        np.testing.assert_allclose((written.affine @ [3, 1, 2, 1])[:3], expected, atol=1e-4)
        assert written.header.get_xyzt_units()[0] == "mm"

    @pytest.mark.parametrize("name", ["image.nrrd", "image.mha", "image.mhd"])
    def test_nrrd_and_metaimage(self, tmp_path, name):
        image = SimpleITK.GetImageFromArray(np.zeros(SHAPE[::-1], np.int16))
        turn = oblique()[:3, :3] / [0.7, 0.7, 5.0]
        image.SetDirection(turn.ravel().tolist())
        image.SetSpacing((0.7, 0.8, 2.5))
        image.SetOrigin((-90.5, 33.25, 7.0))
        SimpleITK.WriteImage(image, tmp_path / name)
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=tmp_path / name)
        lps = image.TransformIndexToPhysicalPoint((3, 1, 2))
        self.assert_lies_there(tmp_path / "label.nii.gz", np.array(lps) * [-1, -1, 1])
        written = SimpleITK.ReadImage(tmp_path / "label.nii.gz")
        np.testing.assert_allclose(written.GetDirection(), image.GetDirection(), atol=1e-5)

    def test_dicom_folder(self, tmp_path):
        folder = write_series(tmp_path / "series", np.zeros(SHAPE, np.int16))
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=folder)
        # By DICOM: position of slice 2, and 3 columns of 0.7 mm and 1 row of 0.8 mm from its first voxel.
        lps = np.array([-90.5 + 3 * 0.7, -126.25 + 0.8, 33 + 2 * 2.5])
        self.assert_lies_there(tmp_path / "label.nii.gz", lps * [-1, -1, 1])

    def test_a_tilted_gantry_has_no_qform(self, tmp_path):
        positions = [(0, 0.5 * k, 2.5 * k) for k in range(SHAPE[2])]
        folder = write_series(tmp_path / "series", np.zeros(SHAPE, np.int16), positions=positions)
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=folder)
        lps = np.array([3 * 0.7, 0.8 + 2 * 0.5, 2 * 2.5])
        self.assert_lies_there(tmp_path / "label.nii.gz", lps * [-1, -1, 1])
        assert nib.load(tmp_path / "label.nii.gz").header["qform_code"] == 0


class TestConfined:
    @pytest.fixture
    def source(self, save):
        return save("source/image.nii.gz", np.zeros(SHAPE, np.int16))

    @pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
    def test_permissions_are_the_umask_s(self, source, tmp_path, mask, mode):
        before = os.umask(mask)
        try:
            write_label_map(LABELS, tmp_path / "new" / "label.nii.gz", grid_of=source)
        finally:
            os.umask(before)
        assert (tmp_path / "new" / "label.nii.gz").stat().st_mode & 0o777 == mode
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o777 & ~mask

    def test_a_link_in_the_output_folder_leads_nowhere(self, source, tmp_path):
        (tmp_path / "precious").write_text("mine")
        (tmp_path / "label.nii.gz").symlink_to(tmp_path / "precious")
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=source)
        assert (tmp_path / "precious").read_text() == "mine"
        assert not (tmp_path / "label.nii.gz").is_symlink()


class TestLabels:
    @pytest.fixture
    def source(self, save):
        return save("source/image.nii.gz", np.zeros(SHAPE, np.int16))

    @pytest.mark.parametrize(
        "labels",
        [
            LABELS.astype(np.int64),
            LABELS.astype(">i2"),
            np.asfortranarray(LABELS),
            torch.from_numpy(LABELS),
            torch.from_numpy(LABELS).to(torch.int32),
            MetaTensor(torch.from_numpy(LABELS)),
            torch.from_numpy(LABELS.transpose(2, 1, 0).copy()).permute(2, 1, 0),
        ],
    )
    def test_any_integers_in_any_memory(self, source, tmp_path, labels):
        write_label_map(labels, tmp_path / "new" / "label.nii.gz", grid_of=source)
        np.testing.assert_array_equal(nib.load(tmp_path / "new" / "label.nii.gz").get_fdata(), LABELS)
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["label.nii.gz"]

    @pytest.mark.parametrize("value", [0, 255])
    def test_extreme_labels(self, source, tmp_path, value):
        write_label_map(np.full(SHAPE, value), tmp_path / "label.nii.gz", grid_of=source)
        assert (load_label_map(tmp_path / "label.nii.gz") == value).all()

    def test_four_dimensional_source_with_one_volume(self, save, tmp_path):
        source = save("image.nii.gz", np.zeros((*SHAPE, 1), np.int16))
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=source)
        assert nib.load(tmp_path / "label.nii.gz").shape == SHAPE
        assert_same_geometry(tmp_path / "label.nii.gz", source)

    @pytest.mark.parametrize(
        ("labels", "reason"),
        [
            (np.full(SHAPE, 256), "0 and 255, got 256"),
            (np.full(SHAPE, -1), "0 and 255, got -1"),
            (np.ones(SHAPE), "integer type, got float64"),
            (torch.ones(SHAPE), "integer type, got float32"),
            (np.ones(SHAPE, bool), "integer type, got bool"),
            (LABELS[None], r"\(4, 5, 6\) of .*image\.nii\.gz, got \(1, 4, 5, 6\)"),
            (LABELS.transpose(2, 1, 0), r"\(4, 5, 6\) of .*image\.nii\.gz, got \(6, 5, 4\)"),
            (LABELS[:0], r"got \(0, 5, 6\)"),
        ],
    )
    def test_what_is_not_a_label_map_is_an_error(self, source, tmp_path, labels, reason):
        with pytest.raises(StudyError, match=rf"label\.nii\.gz.*{reason}"):
            write_label_map(labels, tmp_path / "label.nii.gz", grid_of=source)
        assert [path.name for path in tmp_path.iterdir()] == ["source"]

    @pytest.mark.parametrize("name", ["label.img", "label.mha", "label", "label.json"])
    def test_a_name_that_is_not_a_single_nifti_file(self, source, tmp_path, name):
        with pytest.raises(StudyError, match=rf"{name}.*\.nii"):
            write_label_map(LABELS, tmp_path / name, grid_of=source)

    def test_a_folder_that_cannot_be_made(self, source, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=f"{tmp_path}/file"):
            write_label_map(LABELS, tmp_path / "file" / "label.nii.gz", grid_of=source)

    def test_a_failure_while_writing_keeps_the_old_file(self, source, tmp_path, monkeypatch):
        write_label_map(LABELS, tmp_path / "label.nii.gz", grid_of=source)

        def full_disk(image, path):
            path.write_bytes(b"half")
            raise OSError("No space left on device")

        monkeypatch.setattr(nib.Nifti1Image, "to_filename", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_label_map(np.zeros_like(LABELS), tmp_path / "label.nii.gz", grid_of=source)
        monkeypatch.undo()
        np.testing.assert_array_equal(nib.load(tmp_path / "label.nii.gz").get_fdata(), LABELS)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["label.nii.gz", "source"]


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["thorax_lps_1p5mm", "abdomen_3mm_crop"])
def test_a_real_image_and_its_label_map_stay_aligned(shared_data, tmp_path, name):
    source = shared_data / "ct" / f"{name}.nii.gz"
    labels = (load_image(source)[0] > 200).to(torch.uint8)
    write_label_map(labels, tmp_path / "bone.nii.gz", grid_of=source)
    itk, itk_source = SimpleITK.ReadImage(tmp_path / "bone.nii.gz"), SimpleITK.ReadImage(source)
    for geometry in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
        assert getattr(itk, geometry)() == getattr(itk_source, geometry)()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk), SimpleITK.GetArrayFromImage(itk_source) > 200)
    assert_same_geometry(tmp_path / "bone.nii.gz", source)


AFFINE = np.array([[0, -0.7, 0, 11], [0.7, 0, 0, -3.25], [0, 0, 2.5, 100], [0, 0, 0, 1]])


@pytest.fixture
def image_of_fractions(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), AFFINE), tmp_path / "image.nii.gz")
    return tmp_path / "image.nii.gz"


@pytest.mark.parametrize("channels", [(), (3,)])
def test_values_and_grid_come_back(image_of_fractions, tmp_path, channels):
    values = torch.rand((5, 4, 3, *channels), generator=torch.Generator().manual_seed(0))
    values.flatten()[:2] = torch.tensor([0.0, 1.0])
    write_fractions(values, tmp_path / "out" / "values.nii.gz", image_of_fractions)
    written = nib.load(tmp_path / "out" / "values.nii.gz")
    assert written.get_data_dtype() == np.uint16
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(written.get_fdata(), values.numpy(), atol=0.5 / 65535 + 1e-7)
    assert written.get_fdata().flat[0] == 0
    assert float(written.get_fdata().flat[1]) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(5, 3, 4), r"must have the shape \(5, 4, 3\) of .*, got \(5, 3, 4\)"),
        (torch.full((5, 4, 3), 1.5), r"must lie in \[0, 1\], got 1.5 to 1.5"),
        (torch.full((5, 4, 3), torch.nan), r"must lie in \[0, 1\]"),
    ],
)
def test_what_is_refused(image_of_fractions, tmp_path, values, message):
    with pytest.raises(StudyError, match=message):
        write_fractions(values, tmp_path / "values.nii.gz", image_of_fractions)
    assert not (tmp_path / "values.nii.gz").exists()


NAMES = {1: "liver", 2: "tumour <2 cm> & more"}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.diag([1, 2, 3, 1])), path)
    return path


@pytest.fixture
def labels():
    return np.arange(60).reshape(3, 4, 5) % 3


def test_a_label_map_names_its_labels_and_is_the_same_to_everyone(image, labels, tmp_path):
    path = tmp_path / "labels.nii.gz"
    write_label_map(labels, path, grid_of=image, names=NAMES)
    assert labels_named_in(path) == NAMES
    np.testing.assert_array_equal(voxels_of(path), labels)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).T, labels)
    (extension,) = nib.load(path).header.extensions
    assert extension.get_code() == nib.nifti1.extension_codes["caret"]
    # The form of TotalSegmentator's label maps.
    table = ElementTree.fromstring(extension.content).find("VolumeInformation/LabelTable")
    assert {int(entry.get("Key")): entry.text for entry in table} == NAMES


def test_labels_that_look_like_another_extension_are_labels(image, tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels.ravel("F")[[1, 4]] = 1, 2  # as an extension, of 256 bytes and code 2
    path = tmp_path / "labels.nii.gz"
    write_label_map(labels, path, grid_of=image, names=NAMES)
    np.testing.assert_array_equal(load_label_map(path)[0].numpy(), labels)


def test_a_file_without_a_table_names_nothing(image, tmp_path):
    assert labels_named_in(image) == {}
    broken = nib.load(image)
    broken.header.extensions.append(nib.nifti1.Nifti1Extension(30, b"<LabelTable><"))
    nib.save(broken, tmp_path / "broken.nii.gz")
    assert labels_named_in(tmp_path / "broken.nii.gz") == {}


def test_a_folders_table_is_written_once_and_never_replaced(tmp_path):
    assert read_label_names(tmp_path) is None
    write_label_names(NAMES, tmp_path)
    assert (tmp_path / "dseg.tsv").read_text().splitlines()[:2] == ["index\tname", "1\tliver"]
    before = (tmp_path / "dseg.tsv").stat().st_mtime_ns
    write_label_names(NAMES, tmp_path)
    assert read_label_names(tmp_path) == NAMES
    with pytest.raises(StudyError, match="remove it, or write to another folder"):
        write_label_names({1: "kidney"}, tmp_path)
    assert (tmp_path / "dseg.tsv").stat().st_mtime_ns == before


def test_a_table_of_bids_may_have_more(tmp_path):
    (tmp_path / "dseg.tsv").write_text("index\tname\tabbreviation\n0\tBackground\tBG\n7\tpancreas\tPA\n")
    assert read_label_names(tmp_path) == {7: "pancreas"}


@pytest.mark.parametrize("content", ["", "label\tname\n1\tliver\n", "index\tname\none\tliver\n", "index\tname\n\tx\n"])
def test_what_is_no_table(tmp_path, content):
    (tmp_path / "dseg.tsv").write_text(content)
    if content:
        with pytest.raises(StudyError, match=r"dseg\.tsv: must be a table"):
            read_label_names(tmp_path)
    else:
        assert read_label_names(tmp_path) == {}


@pytest.mark.parametrize("second", ["1\ttumour", "2\tliver"])
def test_a_label_or_a_name_twice(tmp_path, second):
    (tmp_path / "dseg.tsv").write_text(f"index\tname\n1\tliver\n{second}\n")
    with pytest.raises(StudyError, match="every label and every name must be there once"):
        read_label_names(tmp_path)
