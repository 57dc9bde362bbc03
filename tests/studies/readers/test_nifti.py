"""Where voxels begin and how they are scaled; what nibabel and SimpleITK make of it is theirs."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rankseg_med.studies import StudyError, load_image, load_label_map, read_grid
from tests.voxels import voxels_of


@pytest.fixture
def sound(save):
    return save("a.nii", np.arange(1, 121).reshape(4, 5, 6).astype(np.int16))


@pytest.fixture
def extended(tmp_path):
    """Two extensions: bytes 352 to 400 and 400 to 432, where the voxels begin."""
    image = nib.Nifti1Image(np.arange(1, 121).reshape(4, 5, 6).astype(np.int16), np.eye(4))
    for size in (40, 20):
        image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"x" * size))
    image.to_filename(tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").dataobj.offset == 432
    return tmp_path / "a.nii"


def with_bytes(path: Path, place: int, form: str, *values: float) -> Path:
    """Fields of the header, set in place."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, place, *values)
    path.write_bytes(content)
    return path


def with_offset(path: Path, offset: float) -> Path:
    return with_bytes(path, 108, "<f", offset)


def both_readers(path: Path) -> tuple[int, int]:
    """The first voxel, as nibabel and as SimpleITK read it."""
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0, 0, 0]
    return int(voxels_of(path)[0, 0, 0]), int(itk)


class TestOffset:
    def test_a_reader_takes_the_header_for_voxels(self, sound):
        assert both_readers(sound) == (1, 1)
        # 348 is the header's first field, its own size: all voxels are shifted by 352 bytes.
        assert both_readers(with_offset(sound, 0))[0] == 348

    @pytest.mark.parametrize("offset", [0, 1, 264, 348, 351, -16, 352.5, np.nan, np.inf, 1e9])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_of_a_single_file(self, sound, offset, compressed):
        path = with_offset(sound, offset)
        if compressed:
            path = path.with_name("a.nii.gz")
            path.write_bytes(gzip.compress(sound.read_bytes()))
        for read in (read_grid, load_image, load_label_map):
            with pytest.raises(StudyError, match=r"a\.nii"):
                read(path)

    def test_says_what_is_wrong(self, sound):
        with pytest.raises(StudyError, match=r"a\.nii: vox_offset.* whole number from 352 on, got 0"):
            read_grid(with_offset(sound, 0))

    @pytest.mark.parametrize("offset", [0, 352, 540, -16])
    def test_of_nifti_2(self, save, offset):
        path = save("two.nii", np.zeros((4, 5, 6), np.int16), nifti=nib.Nifti2Image)
        assert read_grid(path).shape == (4, 5, 6)
        with pytest.raises(StudyError, match=r"two\.nii"):
            read_grid(with_bytes(path, 168, "<q", offset))

    def test_of_a_big_endian_file(self, tmp_path):
        header = nib.Nifti1Header(endianness=">")
        nib.Nifti1Image(np.zeros((4, 5, 6), ">i2"), np.eye(4), header).to_filename(tmp_path / "a.nii")
        assert read_grid(tmp_path / "a.nii").shape == (4, 5, 6)
        with pytest.raises(StudyError, match="vox_offset"):
            read_grid(with_bytes(tmp_path / "a.nii", 108, ">f", 0))

    @pytest.mark.parametrize(("offset", "accepted"), [(0, True), (-16, False), (np.nan, False), (0.5, False)])
    def test_of_a_pair(self, save, offset, accepted):
        pair = save("a.img", np.zeros((4, 5, 6), np.int16), nifti=nib.Nifti1Pair)
        with_offset(pair.with_suffix(".hdr"), offset)
        if accepted:
            assert read_grid(pair).shape == (4, 5, 6)
        else:
            with pytest.raises(StudyError, match=r"a\.img"):
                read_grid(pair)

    def test_of_a_pair_that_says_it_is_one_file(self, save):
        pair = save("a.img", np.arange(1, 121).reshape(4, 5, 6).astype(np.int16), nifti=nib.Nifti1Pair)
        with_bytes(pair.with_suffix(".hdr"), 344, "4s", b"n+1\0")
        assert both_readers(pair)[0] != both_readers(pair)[1]
        with pytest.raises(StudyError, match=r"a\.img: is half of a pair, but its magic n\+1"):
            read_grid(pair)

    @pytest.mark.parametrize("offset", [352, 360, 368, 399, 400, 416, 448])
    def test_within_the_extensions(self, extended, offset):
        assert load_image(extended)[0, 0, 0, 0] == 1
        with pytest.raises(StudyError, match=r"a\.nii"):
            read_grid(with_offset(extended, offset))

    def test_behind_padding(self, sound):
        content = sound.read_bytes()
        sound.write_bytes(content[:352] + bytes(160) + content[352:])
        assert load_image(with_offset(sound, 512))[0, 0, 0, 0] == 1

    def test_a_flag_without_an_extension(self, sound):
        assert load_image(with_bytes(sound, 348, "B", 1))[0, 0, 0, 0] == 1


class TestScaling:
    @pytest.mark.parametrize(
        ("slope", "intercept"),
        [
            (np.inf, 0),
            (-np.inf, 0),
            (np.inf, np.nan),
            (2, np.nan),
            (2, np.inf),
            (1, -np.inf),
            (0, np.inf),
            (np.nan, np.inf),
        ],
    )
    def test_that_is_not_finite(self, sound, slope, intercept):
        for read in (read_grid, load_image, load_label_map):
            with pytest.raises(StudyError, match=r"a\.nii: .*(finite|invalid)"):
                read(with_bytes(sound, 112, "<ff", slope, intercept))

    @pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (np.nan, 5)])
    def test_that_programs_disagree_on(self, sound, slope, intercept):
        path = with_bytes(sound, 112, "<ff", slope, intercept)
        assert both_readers(path) == (1, 6)
        with pytest.raises(StudyError, match=r"a\.nii: a slope.*means no scaling, but the intercept.* is 5"):
            read_grid(path)

    @pytest.mark.parametrize(("slope", "intercept"), [(0, 0), (np.nan, np.nan), (np.nan, 0), (0, np.nan), (1, 0)])
    def test_none(self, sound, slope, intercept):
        path = with_bytes(sound, 112, "<ff", slope, intercept)
        assert both_readers(path) == (1, 1)
        assert load_image(path)[0, 0, 0, 0] == 1
