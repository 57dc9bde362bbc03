import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from rankseg_med.studies import StudyError
from rankseg_med.studies.readers.nifti_header import open_nifti, stored_header


@pytest.fixture
def sound(save):
    return save("a.nii.gz", np.ones((4, 5, 6), np.int16))


def test_opens_without_reading_voxels(sound):
    content = gzip.decompress(sound.read_bytes())
    sound.write_bytes(gzip.compress(content[:352]))
    assert open_nifti(sound).shape == (4, 5, 6)


class TestNotNifti:
    def test_missing(self, tmp_path):
        with pytest.raises(StudyError, match=r"gone\.nii.*no such file"):
            open_nifti(tmp_path / "gone.nii")

    def test_folder(self, tmp_path):
        (tmp_path / "folder.nii").mkdir()
        with pytest.raises(StudyError, match=r"folder\.nii"):
            open_nifti(tmp_path / "folder.nii")

    def test_other_suffix(self, tmp_path):
        (tmp_path / "a.mha").write_bytes(b"ObjectType = Image")
        with pytest.raises(StudyError, match=r"a\.mha.*\.nii\.gz"):
            open_nifti(tmp_path / "a.mha")

    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.hdr"])
    @pytest.mark.parametrize("content", [b"", b"not an image", b"x" * 1000, gzip.compress(b"x" * 1000)], ids=len)
    def test_other_content(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StudyError, match=name.replace(".", r"\.")):
            open_nifti(tmp_path / name)

    def test_analyze_pair_has_no_affine_to_trust(self, tmp_path):
        nib.AnalyzeImage(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_filename(tmp_path / "a.img")
        with pytest.raises(StudyError, match=r"a\.img.*NIfTI-1 or NIfTI-2"):
            open_nifti(tmp_path / "a.img")

    @pytest.mark.parametrize("half", ["img", "hdr"])
    def test_half_a_pair(self, save, half):
        path = save("a.img", np.ones((2, 3, 4), np.int16), nifti=nib.Nifti1Pair)
        path.with_suffix(".hdr" if half == "img" else ".img").unlink()
        with pytest.raises(StudyError, match=rf"a\.{half}"):
            open_nifti(path.with_suffix(f".{half}"))


class TestVolume:
    @pytest.mark.parametrize(
        ("shape", "reason"),
        [((4,), "1-D"), ((4, 5), "2-D"), ((4, 5, 6, 2), "one 3-D volume"), ((4, 5, 6, 1, 3), "one")],
    )
    def test_other_dimensions(self, save, shape, reason):
        with pytest.raises(StudyError, match=rf"a\.nii.*{reason}"):
            open_nifti(save("a.nii", np.zeros(shape, np.int16)))

    @pytest.mark.parametrize("shape", [(4, 5, 1), (4, 5, 6, 1), (4, 5, 6, 1, 1)])
    def test_one_slice_and_one_volume(self, save, shape):
        assert open_nifti(save("a.nii", np.zeros(shape, np.int16))).shape == shape

    @pytest.mark.parametrize("axis", [1, 2, 3])
    @pytest.mark.parametrize("size", [0, -5])
    def test_axis_without_voxels(self, sound, rewrite_header, axis, size):
        dim = [3, 4, 5, 6, 1, 1, 1, 1]
        dim[axis] = size
        with pytest.raises(StudyError, match=rf"a\.nii\.gz.*{size}"):
            open_nifti(rewrite_header(sound, dim=dim))

    @pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
    def test_not_a_real_number(self, save, dtype):
        with pytest.raises(StudyError, match=r"a\.nii.*real numbers, got (complex64|RGB)"):
            open_nifti(save("a.nii", np.zeros((2, 3, 4), dtype)))

    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_a_lie_about_the_size_takes_no_memory(self, save, rewrite_header, name):
        path = rewrite_header(save(name, np.ones((4, 5, 6), np.int16)), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
        tracemalloc.start()
        with pytest.raises(StudyError, match="truncated"):
            open_nifti(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10e6

    def test_a_lie_just_beyond_what_gzip_can_compress(self, save, rewrite_header):
        path = save("a.nii.gz", np.ones((4, 5, 6), np.uint8))
        dim = [3, 10, 10, path.stat().st_size * 11, 1, 1, 1, 1]
        with pytest.raises(StudyError, match="truncated"):
            open_nifti(rewrite_header(path, dim=dim))

    def test_the_best_that_gzip_can_compress_is_accepted(self, save):
        path = save("a.nii", np.zeros((256, 256, 256), np.uint8))
        smallest = path.with_name("b.nii.gz")
        smallest.write_bytes(gzip.compress(path.read_bytes(), compresslevel=9))
        assert path.stat().st_size / smallest.stat().st_size > 1000
        assert open_nifti(smallest).shape == (256, 256, 256)


class TestGeometry:
    @pytest.mark.parametrize("spacing", [0, -0.7, np.nan, np.inf])
    def test_spacing(self, sound, rewrite_header, spacing):
        with pytest.raises(StudyError, match=r"a\.nii\.gz.*(spacing|NIfTI)"):
            open_nifti(rewrite_header(sound, pixdim=[1, 0.7, spacing, 2.5, 1, 1, 1, 1]))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_affine_not_finite(self, sound, rewrite_header, value):
        with pytest.raises(StudyError, match=r"a\.nii\.gz.*affine must be finite"):
            open_nifti(rewrite_header(sound, srow_y=[0, 0.7, 0, value]))

    @pytest.mark.parametrize("row", [[0, 0, 0, 0], [0.7, 0, 0, 0]])
    def test_affine_singular(self, sound, rewrite_header, row):
        with pytest.raises(StudyError, match=r"a\.nii\.gz.*independent"):
            open_nifti(rewrite_header(sound, srow_x=[0.7, 0, 0, 0], srow_y=row))

    def test_affine_singular_with_parallel_axes_of_the_right_length(self, sound, rewrite_header):
        third = 0.7 / 2**0.5
        with pytest.raises(StudyError, match=r"a\.nii\.gz.*independent"):
            open_nifti(
                rewrite_header(
                    sound, srow_x=[third, third, 0, 0], srow_y=[third, third * 1.00001, 0, 0], srow_z=[0, 0, 2.5, 0]
                )
            )

    def test_sform_and_pixdim_that_disagree(self, sound, rewrite_header):
        with pytest.raises(StudyError, match=r"a\.nii\.gz.*\(0\.7, 0\.7, 2\.5\).*\(0\.7, 0\.7, 5\)"):
            open_nifti(rewrite_header(sound, pixdim=[1, 0.7, 0.7, 5, 1, 1, 1, 1]))

    @pytest.mark.parametrize("codes", [(1, 1), (1, 4), (2, 1)])
    def test_sform_and_qform_that_disagree(self, save, codes):
        path = save("a.nii", np.ones((4, 5, 6), np.int16))
        image = nib.load(path)
        image.set_qform(image.affine, code=codes[0])
        moved = image.affine.copy()
        moved[0, 3] += 3
        image.set_sform(moved, code=codes[1])
        image.to_filename(path)
        with pytest.raises(StudyError, match=rf"a\.nii: sform \(code {codes[1]}\) and qform.* 3 mm apart"):
            open_nifti(path)

    @pytest.mark.parametrize("codes", [(0, 1), (1, 0), (0, 0)])
    def test_of_two_transforms_only_those_with_a_code_count(self, save, codes):
        path = save("a.nii", np.ones((4, 5, 6), np.int16))
        image = nib.load(path)
        image.set_qform(image.affine, code=codes[0])
        image.set_sform(np.diag([0.7, 0.7, 2.5, 1]), code=codes[1])
        image.to_filename(path)
        open_nifti(path)

    @pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SAL"])
    def test_a_quaternion_s_rounding_is_no_disagreement(self, save, axes):
        # Half a turn, as of LPS, is where float32 quaternions are least exact; a CT of 0.5 m.
        affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), (512, 512, 200))
        affine = np.diag([0.97, 0.97, 2.5, 1]) @ affine
        header = nib.Nifti1Header()
        header.set_data_shape((512, 512, 200))
        path = save("a.nii.gz", np.broadcast_to(np.uint8(0), (512, 512, 200)), affine, qform_code=1, sform_code=1)
        open_nifti(path)

    @pytest.mark.parametrize(("degrees", "accepted"), [(0, True), (25, True), (30, True), (32, False), (80, False)])
    def test_sheared_as_by_a_gantry_s_tilt(self, save, degrees, accepted):
        # Slices 2.5 mm apart along an axis that leans by so much towards the second.
        affine = np.diag([0.7, 0.7, 2.5, 1.0])
        tilt = np.deg2rad(degrees)
        affine[1, 2], affine[2, 2] = 2.5 * np.sin(tilt), 2.5 * np.cos(tilt)
        path = save("a.nii", np.ones((4, 5, 6), np.int16), affine, qform_code=0)
        if accepted:
            np.testing.assert_allclose(open_nifti(path).affine, affine, atol=1e-6)
        else:
            with pytest.raises(StudyError, match=r"a\.nii.*perpendicular.*30 degrees.*sheared"):
                open_nifti(path)

    @pytest.mark.parametrize(
        ("units", "accepted"), [(0, True), (2, True), (10, True), (1, False), (3, False), (7, False)]
    )
    def test_units(self, sound, rewrite_header, units, accepted):
        rewrite_header(sound, xyzt_units=units)
        if accepted:
            open_nifti(sound)
        else:
            with pytest.raises(StudyError, match=r"a\.nii\.gz.*mm"):
                open_nifti(sound)


def test_stored_header_is_not_repaired(sound, rewrite_header):
    rewrite_header(sound, pixdim=[0, 0.7, 0.7, 2.5, 1, 1, 1, 1], scl_slope=2.0)
    image = open_nifti(sound)
    assert image.header["pixdim"][0] == 1
    assert stored_header(image)["pixdim"][0] == 0
    assert stored_header(image)["scl_slope"] == 2
