"""DICOM series. Voxels are those that were written; places follow DICOM's definition (PS3.3 C.7.6.2.1.1)."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from rankseg_med.studies import StudyError, load_image, read_grid
from rankseg_med.studies.readers.dicom import is_dicom_series
from tests.studies.dicom_files import write_series

VOXELS = np.random.default_rng(0).integers(-1000, 2000, (5, 6, 4)).astype(np.int16)


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series", VOXELS)


def test_voxels_and_their_places(series):
    image = load_image(series)
    np.testing.assert_array_equal(image[0].numpy(), VOXELS)
    assert image.meta["filename_or_obj"] == str(series)
    np.testing.assert_allclose(
        image.affine, [[-0.7, 0, 0, 90.5], [0, -0.8, 0, 126.25], [0, 0, 2.5, 33], [0, 0, 0, 1]], atol=1e-6
    )


def test_slices_are_sorted_by_place_not_by_name(tmp_path):
    down = [(0, 0, 10 - 2 * k) for k in range(4)]
    folder = write_series(tmp_path / "series", VOXELS, positions=down, names="{}")
    np.testing.assert_array_equal(load_image(folder)[0].numpy(), VOXELS[:, :, ::-1])
    assert read_grid(folder).affine[2].tolist() == [0, 0, 2, 4]


def test_other_planes(tmp_path):
    # Sagittal: columns run to the back, rows down, slices to the left.
    positions = [(3.0 * k, -50, 80) for k in range(4)]
    folder = write_series(tmp_path / "series", VOXELS, positions=positions, orientation=(0, 1, 0, 0, 0, -1))
    grid = read_grid(folder)
    # The normal (the product of both axes) points right, so slices are sorted from left to right.
    np.testing.assert_allclose(grid.affine[:3, 0], [0, -0.7, 0], atol=1e-6)
    np.testing.assert_allclose(grid.affine[:3, 1], [0, 0, -0.8], atol=1e-6)
    np.testing.assert_allclose(grid.affine[:3, 2], [3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(grid.affine[:3, 3], [-9, 50, 80], atol=1e-6)


def rescaled(series: Path, name: str, slope: float, intercept: float, **tags: str) -> Path:
    """A slice written anew with other tags; its stored voxels stay."""
    image = SimpleITK.ReadImage(series / name)
    for key, value in {"t0028_1052": f"{intercept}", "t0028_1053": f"{slope}", **tags}.items():
        image.SetMetaData(key.replace("_", "|").removeprefix("t"), value)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(series / name))
    stored = SimpleITK.GetArrayFromImage(image)
    # The writer takes what it is given for scaled values, and divides.
    scaled = SimpleITK.GetImageFromArray((stored * slope + intercept).astype(np.int16))
    scaled.SetSpacing(image.GetSpacing())
    for key in image.GetMetaDataKeys():
        scaled.SetMetaData(key, image.GetMetaData(key))
    writer.Execute(scaled)
    return series


class TestRescaling:
    def test_of_pet_is_each_slice_s_own(self, tmp_path):
        series = rescaled(write_series(tmp_path / "a", VOXELS, t0008_0060="PT"), "1.dcm", 2, 100)
        itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(series / "1.dcm"))[0].T
        np.testing.assert_array_equal(itk, VOXELS[:, :, 1] * 2 + 100)
        np.testing.assert_array_equal(load_image(series)[0, :, :, 1].numpy(), itk)
        np.testing.assert_array_equal(load_image(series)[0, :, :, 0].numpy(), VOXELS[:, :, 0])

    @pytest.mark.parametrize(("slope", "intercept"), [(2, 0), (1, -1024), (2, -1024)])
    @pytest.mark.parametrize("name", ["0.dcm", "2.dcm", "3.dcm"])
    def test_of_ct_that_differs_in_one_slice_is_refused(self, series, slope, intercept, name):
        rescaled(series, name, slope, intercept)
        with pytest.raises(StudyError, match=rf"{name}: rescale .*, {slope} and {intercept} instead of 1 and 0"):
            read_grid(series)

    def test_of_ct_that_all_have(self, tmp_path):
        series = write_series(tmp_path / "a", VOXELS)
        for name in ("0.dcm", "1.dcm", "2.dcm", "3.dcm"):
            rescaled(series, name, 1, -1024)
        np.testing.assert_array_equal(load_image(series)[0].numpy(), VOXELS - 1024)

    def test_of_another_modality_is_told(self, tmp_path, caplog):
        series = rescaled(write_series(tmp_path / "a", VOXELS, t0008_0060="MR"), "1.dcm", 2, 0)
        np.testing.assert_array_equal(load_image(series)[0, :, :, 1].numpy(), VOXELS[:, :, 1] * 2)
        (record,) = caplog.records  # once, however often the header is read
        assert record.levelname == "WARNING"
        assert f"{series}/1.dcm: rescale slope and intercept" in record.message

    def test_that_one_slice_lacks(self, tmp_path):
        series = write_series(tmp_path / "a", VOXELS, t0008_0060="PT")
        for name in ("0.dcm", "1.dcm", "2.dcm", "3.dcm"):
            rescaled(series, name, 2, 0)
        with_rescale_elements(series / "1.dcm", {})
        with pytest.raises(StudyError, match=r"1\.dcm: rescale .* none instead of 2 and 0"):
            read_grid(series)

    def test_to_another_type_is_refused(self, tmp_path):
        series = write_series(tmp_path / "a", VOXELS)
        for name, kind in (("0.dcm", "HU"), ("1.dcm", "US"), ("2.dcm", "HU"), ("3.dcm", "HU")):
            with_rescale_elements(series / name, {0x52: "0 ", 0x53: "1 ", 0x54: kind})
        with pytest.raises(StudyError, match=r"0\.dcm and .*1\.dcm: .*alike, but differ in rescale type 'HU' and 'US'"):
            read_grid(series)

    def test_to_other_units_is_refused(self, tmp_path):
        series = write_series(tmp_path / "a", VOXELS, t0008_0060="PT", t0054_1001="BQML")
        rescaled(series, "1.dcm", 1, 0, t0054_1001="CNTS")
        with pytest.raises(StudyError, match=r"0\.dcm and .*1\.dcm: .*alike, but differ in units 'BQML' and 'CNTS'"):
            read_grid(series)

    @pytest.mark.parametrize("slope", ["0 ", "nan ", "inf ", "1e99"])
    def test_that_cannot_be_is_refused(self, series, slope):
        with_rescale_elements(series / "1.dcm", {0x52: "0 ", 0x53: slope})
        with pytest.raises(StudyError, match=r"1\.dcm"):
            load_image(series)


def with_rescale_elements(file: Path, elements: dict[int, str]) -> None:
    """Put other elements (0028,10xx) in place of slope and intercept, which come last before the voxels."""
    content = file.read_bytes()
    start, end = content.index(b"\x28\x00\x52\x10"), content.index(b"\xe0\x7f\x10\x00")
    new = b"".join(
        struct.pack("<HHI", 0x0028, 0x1000 + number, len(value)) + value.encode() for number, value in elements.items()
    )
    file.write_bytes(content[:start] + new + content[end:])


class TestCount:
    @pytest.mark.parametrize(
        ("tag", "name"),
        [
            ("t0020_1002", "Images in Acquisition"),
            ("t0020_1209", "Number of Series Related Instances"),
            ("t0054_0081", "Number of Slices"),
        ],
    )
    @pytest.mark.parametrize("lost", ["0.dcm", "3.dcm"])
    def test_a_lost_end_slice_is_missed(self, tmp_path, tag, name, lost):
        series = write_series(tmp_path / "series", VOXELS, **{tag: "4"})
        assert read_grid(series).shape == (5, 6, 4)
        (series / lost).unlink()
        with pytest.raises(StudyError, match=rf"series: holds 3 slices, but \d\.dcm says that there are 4 \({name}\)"):
            read_grid(series)

    def test_several_acquisitions_may_make_a_series(self, tmp_path):
        assert read_grid(write_series(tmp_path / "series", VOXELS, t0020_1002="2")).shape == (5, 6, 4)

    def test_numbers_that_do_not_begin_at_1_are_told(self, series, caplog):
        assert read_grid(series).shape == (5, 6, 4)
        assert not caplog.records
        (series / "0.dcm").unlink()
        assert read_grid(series).shape == (5, 6, 3)
        assert [record.message.partition(";")[0] for record in caplog.records] == [
            f"{series}: its slices are numbered from 2 to 4"
        ]

    @pytest.mark.parametrize("number", ["", "x", "1.5"])
    def test_numbers_that_say_nothing(self, tmp_path, number):
        series = write_series(tmp_path / "series", VOXELS, t0020_0013=number, t0020_1002=number)
        assert read_grid(series).shape == (5, 6, 4)


def test_a_tilted_gantry_s_axis_is_kept(tmp_path):
    positions = [(0, 1.0 * k, 2.0 * k) for k in range(4)]
    grid = read_grid(write_series(tmp_path / "series", VOXELS, positions=positions))
    np.testing.assert_allclose(grid.affine[:3, 2], [0, -1, 2], atol=1e-6)


def test_other_files_are_ignored(series):
    for name in ("notes.txt", "DICOMDIR", ".hidden"):
        (series / name).write_bytes(b"x" * 200)
    (series / "deeper").mkdir()
    assert read_grid(series).shape == (5, 6, 4)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path):
    assert read_grid(write_series(tmp_path / "a", VOXELS[:, :, :1])).spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    with pytest.raises(StudyError, match="thickness"):
        read_grid(write_series(tmp_path / "b", VOXELS[:, :, :1], thickness_mm=None))


class TestErrors:
    def test_no_series(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(StudyError, match=r"one DICOM series, got none in its 1 files"):
            read_grid(tmp_path)

    def test_mixed_series_are_listed(self, series):
        write_series(series, VOXELS, uid="5.6.7", names="other{}.dcm")
        with pytest.raises(StudyError, match=r"got 2: 1\.2\.3\.4.*\(4 files\); 5\.6\.7.*\(4 files\)"):
            read_grid(series)

    def test_a_missing_slice(self, series):
        (series / "2.dcm").unlink()
        with pytest.raises(StudyError, match=r"[013]\.dcm and .*3\.dcm: .*evenly spaced.*5 mm apart|evenly"):
            read_grid(series)

    def test_a_missing_slice_among_many_is_placed(self, tmp_path):
        voxels = np.zeros((2, 2, 9), np.int16)
        folder = write_series(tmp_path / "series", voxels)
        (folder / "5.dcm").unlink()
        with pytest.raises(StudyError, match=r"4\.dcm and .*6\.dcm: .*5 mm apart and most 2\.5 mm"):
            read_grid(folder)

    def test_a_slice_twice(self, series):
        write_series(series, VOXELS[:, :, :1], names="again{}.dcm")
        with pytest.raises(StudyError, match=r"0\.dcm and .*again0\.dcm|again0\.dcm and .*0\.dcm"):
            read_grid(series)

    def test_slices_that_are_not_in_a_line(self, tmp_path):
        beside = [(0 if k != 2 else 6, 0, 2.0 * k) for k in range(9)]
        with pytest.raises(StudyError, match=r"evenly|line"):
            read_grid(write_series(tmp_path / "series", np.zeros((2, 2, 9), np.int16), positions=beside))

    def test_sizes_that_differ(self, series):
        write_series(series, VOXELS[:4, :, :1], names="3.dcm", positions=[(-90.5, -126.25, 40.5)])
        with pytest.raises(StudyError, match=r"(series, got 2|alike, but differ in size)"):
            read_grid(series)

    def test_spacings_that_differ(self, series):
        write_series(series, VOXELS[:, :, :1], names="3.dcm", positions=[(-90.5, -126.25, 40.5)], spacing_mm=(0.9, 0.9))
        with pytest.raises(StudyError, match=r"(series, got 2|alike, but differ in spacing)"):
            read_grid(series)

    def test_too_tilted(self, tmp_path):
        positions = [(0, 3.0 * k, 2.0 * k) for k in range(4)]
        with pytest.raises(StudyError, match="perpendicular"):
            read_grid(write_series(tmp_path / "series", VOXELS, positions=positions))

    @pytest.mark.parametrize("content", [b"", b"not dicom", b"\0" * 128 + b"DICM" + b"\xff" * 60], ids=len)
    def test_a_damaged_slice_is_named(self, series, content):
        (series / "3.dcm").write_bytes(content)
        with pytest.raises(StudyError, match=r"3\.dcm"):
            load_image(series)

    @pytest.mark.parametrize("kept", [200, 700, -1, -20])
    def test_a_truncated_slice_is_named(self, series, kept):
        path = series / "3.dcm"
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(StudyError, match=r"3\.dcm"):
            load_image(series)


class TestIsSeries:
    def test_by_content(self, series, tmp_path):
        assert is_dicom_series(series)
        assert not is_dicom_series(tmp_path)

    def test_an_index_alone_is_none(self, series, tmp_path):
        (tmp_path / "x").mkdir()
        shutil.copy(series / "0.dcm", tmp_path / "x" / "DICOMDIR")
        assert not is_dicom_series(tmp_path / "x")


@pytest.mark.real_data
def test_a_real_series(shared_data):
    folder: Path = shared_data / "ct" / "dicom_series"
    image = load_image(folder)
    (identifier,) = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    itk = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifier))
    np.testing.assert_array_equal(image[0].numpy(), SimpleITK.GetArrayFromImage(itk).transpose(2, 1, 0))
    for index in [(0, 0, 0), (511, 0, 0), (0, 511, 0), (0, 0, 19)]:
        lps = np.array(itk.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose((image.affine.numpy() @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-6)
