"""NRRD and MetaImage. Expected voxels and places are SimpleITK's, which wrote the files."""

import gzip
import tracemalloc
import zlib

import numpy as np
import pytest
import SimpleITK

from rankseg_med.studies import StudyError, load_image, read_grid

VOXELS = np.random.default_rng(0).integers(-1000, 2000, (5, 6, 40)).astype(np.int16)
FORMS = ["a.nrrd", "z.nrrd", "a.mha", "z.mha", "a.mhd", "z.mhd"]
SPACING_MM, ORIGIN = (0.7, 0.8, 2.5), (-90.5, 33.25, 7.0)


def turn():
    """About all three axes."""
    angles = np.deg2rad([10, 20, 30])
    euler = SimpleITK.Euler3DTransform((0, 0, 0), *angles.tolist())
    return euler.GetMatrix()


@pytest.fixture
def write(tmp_path):
    """Write voxels (X, Y, Z) to a file whose name begins with z if it shall be compressed."""

    def write_image(name, voxels=VOXELS, image=None):
        if image is None:
            image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
            image.SetSpacing(SPACING_MM)
            image.SetOrigin(ORIGIN)
            image.SetDirection(turn())
        SimpleITK.WriteImage(image, tmp_path / name, name.startswith("z"))
        return tmp_path / name

    return write_image


def edit(path, before, after):
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))
    return path


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_reads_what_itk_reads(write, name, dtype):
    voxels = (VOXELS % 120).astype(dtype)
    path = write(name, voxels)
    image = load_image(path)
    np.testing.assert_array_equal(image[0].numpy(), voxels.astype(np.float32))
    itk = SimpleITK.ReadImage(path)
    for index in [(0, 0, 0), (4, 0, 0), (0, 5, 0), (0, 0, 39), (1, 2, 3)]:
        lps = np.array(itk.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose((image.affine.numpy() @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-4)
    np.testing.assert_allclose(read_grid(path).spacing_mm, SPACING_MM, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.nrrd", b"endian: little", b"endian: big"),
        ("a.mha", b"BinaryDataByteOrderMSB = False", b"BinaryDataByteOrderMSB = True"),
    ],
)
def test_big_endian(write, name, before, after):
    path = edit(write(name, VOXELS.byteswap().view(np.int16)), before, after)
    np.testing.assert_array_equal(load_image(path)[0].numpy(), VOXELS)


@pytest.mark.parametrize("space", [b"right-anterior-superior", b"RAS", b"left-anterior-superior"])
def test_spaces_of_nrrd(write, space):
    path = edit(write("a.nrrd"), b"left-posterior-superior", space)
    itk = SimpleITK.ReadImage(path)
    lps = np.array(itk.TransformIndexToPhysicalPoint((1, 2, 3)))
    np.testing.assert_allclose((read_grid(path).affine @ [1, 2, 3, 1])[:3], lps * [-1, -1, 1], atol=1e-4)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
class TestVolume:
    def test_one_volume_of_four_dimensions(self, write, name):
        image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(VOXELS.transpose(2, 1, 0).copy())])
        path = write(name, image=image)
        if name.endswith("nrrd"):  # whose fourth axis has no direction in the patient
            with pytest.raises(StudyError, match=r"a\.nrrd"):
                load_image(path)
        else:
            np.testing.assert_array_equal(load_image(path)[0].numpy(), VOXELS)

    def test_several_volumes(self, write, name):
        image = SimpleITK.JoinSeries([SimpleITK.Image(3, 4, 5, SimpleITK.sitkInt16)] * 2)
        with pytest.raises(StudyError, match=rf"{name}"):
            read_grid(write(name, image=image))

    def test_two_dimensions(self, write, name):
        with pytest.raises(StudyError, match=rf"{name}.*(3-D|space)"):
            read_grid(write(name, image=SimpleITK.Image(3, 4, SimpleITK.sitkInt16)))

    def test_colour(self, write, name):
        image = SimpleITK.Image((3, 4, 5), SimpleITK.sitkVectorUInt8, 3)
        with pytest.raises(StudyError, match=rf"{name}.*real numbers, got .*3 components"):
            read_grid(write(name, image=image))

    def test_not_finite(self, write, name):
        voxels = np.zeros((2, 3, 4), np.float32)
        voxels[1, 2, 3] = np.nan
        with pytest.raises(StudyError, match=rf"{name}.*1 of 24 are not; the first is nan at \(1, 2, 3\)"):
            load_image(write(name, voxels))


def test_several_volumes_of_metaimage_are_counted(write):
    image = SimpleITK.JoinSeries([SimpleITK.Image(3, 4, 5, SimpleITK.sitkInt16)] * 2)
    with pytest.raises(StudyError, match=r"one 3-D volume, got shape \(3, 4, 5, 2\)"):
        read_grid(write("a.mha", image=image))


@pytest.mark.parametrize(
    ("name", "before", "after", "reason"),
    [
        ("a.nrrd", b"NRRD0004", b"NRRDxxxx", "must be NRRD"),
        ("a.nrrd", b"sizes: 5 6 40", b"sizes: 5 0 40", "every axis"),
        ("a.nrrd", b"sizes: 5 6 40", b"sizes: 5 -6 40", "whole numbers"),
        ("a.nrrd", b"sizes: 5 6 40", b"sizes: 99999 99999 99999", "truncated"),
        ("a.nrrd", b"space: left-posterior-superior", b"dimension: 3", "how it lies in the patient"),
        ("a.nrrd", b"encoding: raw", b"encoding: bzip2", "raw or gzip, got 'bzip2'"),
        ("a.nrrd", b"encoding: raw", b"encoding: raw\nbyte skip: -1", "byte skip: -1"),
        ("a.nrrd", b"encoding: raw", b"encoding: raw\ndata file: /etc/passwd", "data file: /etc/passwd"),
        ("a.nrrd", b"space origin: (-90.5,", b"space origin: (nan,", "a.nrrd"),
        ("a.nrrd", b"dimension: 3", b"dimension: 31", "a size for each dimension, got '31'"),
        ("a.mha", b"NDims = 3", b"NDims = 31e300 ", "a size for each dimension"),  # on which ITK crashes
        ("a.mha", b"DimSize = 5 6 40", b"DimSize = 5 6 0", "every axis"),
        ("a.mha", b"DimSize = 5 6 40", b"DimSize = 5 6 99999999", "truncated"),
        ("a.mha", b"DimSize = 5 6 40", b"DimSize = 5 6 x", "whole numbers"),
        ("a.mha", b"ElementSpacing = 0.", b"ElementSpacing = 0 0.", "a.mha"),
        ("a.mha", b"ElementSpacing = 0.", b"ElementSpacing = -1 0.", "a.mha"),
        ("a.mha", b"ElementSpacing = 0.", b"ElementSpacing = nan 0.", "a.mha"),
        ("a.mha", b"ElementSpacing = ", b"Comment = ", "distance between voxels"),
        ("a.mha", b"BinaryData = True", b"BinaryData = False", "binary"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = ../a.raw", "one file beside the header"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = /etc/passwd", "one file beside the header"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = LIST", "one file beside the header"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = b%03d.raw", "one file beside the header"),
        ("a.mhd", b"ElementDataFile = a.raw", b"ElementDataFile = gone.raw", r"gone\.raw: there is no such file"),
        ("a.mha", b"ElementType = MET_SHORT", b"ElementType = MET_NONE", "a.mha"),
    ],
)
def test_a_header_that_cannot_be_trusted(write, name, before, after, reason):
    path = edit(write(name), before, after)
    tracemalloc.start()
    with pytest.raises(StudyError, match=reason):
        load_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_singular_and_sheared_axes(write, name):
    image = SimpleITK.Image(3, 4, 5, SimpleITK.sitkInt16)
    image.SetDirection((1, 0.8, 0, 0, 0.6, 0, 0, 0, 1))
    with pytest.raises(StudyError, match=rf"{name}.*perpendicular"):
        read_grid(write(name, image=image))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("cut", [1, 50])
def test_truncated(write, name, cut):
    path = write(name)
    data = {"a.mhd": path.with_name("a.raw"), "z.mhd": path.with_name("z.zraw")}.get(name, path)
    data.write_bytes(data.read_bytes()[:-cut])
    with pytest.raises(StudyError, match=name.replace(".", r"\.")):
        load_image(path)


@pytest.mark.parametrize("name", ["z.nrrd", "z.mha"])
def test_damaged_data_do_not_pass_their_checksum(write, name):
    path = write(name)
    content = bytearray(path.read_bytes())
    content[-100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StudyError, match=rf"{name}.*cannot be read"):
        load_image(path)


@pytest.mark.parametrize(("name", "squeeze"), [("z.nrrd", gzip.compress), ("z.mha", zlib.compress)])
def test_compressed_data_that_do_not_end_with_the_volume(write, name, squeeze):
    path = write(name, np.zeros((4, 4, 4), np.uint8))
    header = path.read_bytes()
    end = header.index(b"\n\n") + 2 if name == "z.nrrd" else header.index(b"LOCAL\n") + 6
    path.write_bytes(header[:end] + squeeze(bytes(50_000_000)))
    tracemalloc.start()
    if name == "z.mha":
        with pytest.raises(StudyError, match="got more"):
            load_image(path)
    else:
        load_image(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd"])
@pytest.mark.parametrize("content", [b"", b"not an image", b"x" * 100_000], ids=len)
def test_other_content(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=name.replace(".", r"\.")):
        read_grid(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_missing(tmp_path, name):
    with pytest.raises(StudyError, match="there is no such file"):
        read_grid(tmp_path / name)
