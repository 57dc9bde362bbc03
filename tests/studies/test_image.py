import gzip
import struct
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, LoadImage, Orientationd, SaveImaged, Spacingd

from rankseg_med.studies import GridError, StudyError, load_image, load_images, load_label_map

LOADERS = [load_image, load_label_map]


class TestLoadImage:
    @pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.img", "ct.hdr", "CT.NII.GZ"])
    @pytest.mark.parametrize("version", [1, 2])
    def test_reads_every_form_of_nifti(self, save, ct, name, version):
        pair = name.endswith((".img", ".hdr"))
        nifti = getattr(nib, f"Nifti{version}{'Pair' if pair else 'Image'}")
        image = load_image(save(name, ct, nifti=nifti))
        assert isinstance(image, MetaTensor)
        assert image.shape == (1, 5, 6, 7)
        assert image.dtype == torch.float32
        np.testing.assert_array_equal(image[0].numpy(), ct)

    @pytest.mark.parametrize("dtype", [">i2", "<i2", ">f4", ">f8", "u1", "u2", "i4", "u8"])
    def test_reads_every_real_type_and_byte_order(self, tmp_path, dtype):
        voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
        header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
        header.set_data_dtype(dtype)
        nib.Nifti1Image(voxels, np.eye(4), header).to_filename(tmp_path / "a.nii")
        assert (tmp_path / "a.nii").read_bytes()[:4] == struct.pack(">i" if dtype.startswith(">") else "<i", 348)
        np.testing.assert_array_equal(load_image(tmp_path / "a.nii")[0].numpy(), voxels.astype(np.float32))

    def test_applies_slope_and_intercept(self, save, rewrite_header, ct):
        path = rewrite_header(save("ct.nii.gz", ct), scl_slope=0.5, scl_inter=-24.0)
        np.testing.assert_array_equal(load_image(path)[0].numpy(), ct * 0.5 - 24)

    def test_axes_are_x_y_z_as_another_reader_sees_them(self, save, ct):
        path = save("ct.nii.gz", ct)
        np.testing.assert_array_equal(
            load_image(path)[0].numpy(), SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).transpose(2, 1, 0)
        )

    def test_metadata_are_those_of_monai(self, save, ct):
        path = save("ct.nii.gz", ct)
        image, monai = load_image(path), LoadImage(reader="NibabelReader", ensure_channel_first=True)(path)
        assert set(image.meta) <= set(monai.meta)
        assert image.affine.dtype == monai.affine.dtype
        assert torch.equal(image.affine, monai.affine)
        assert image.spatial_ndim == monai.spatial_ndim == 3
        assert image.is_contiguous()
        np.testing.assert_array_equal(image.meta["original_affine"], monai.meta["original_affine"])
        np.testing.assert_array_equal(image.meta["spatial_shape"], monai.meta["spatial_shape"])
        assert np.isnan(image.meta["original_channel_dim"])
        assert np.isnan(monai.meta["original_channel_dim"])
        for key in ("space", "filename_or_obj"):
            assert image.meta[key] == monai.meta[key]

    def test_monai_transforms_invert_and_save_it(self, save, tmp_path):
        # A smooth volume, so that resampling there and back loses little.
        x, y, z = np.indices((12, 10, 8))
        path = save("ct.nii.gz", (10 * x + 5 * y - 3 * z).astype(np.int16), np.diag([-1.0, -1.5, 2.0, 1.0]))
        forward = Compose(
            [Orientationd("image", "RAS", labels=None), Spacingd("image", (1.0, 1.0, 1.0), padding_mode="border")]
        )
        resampled = forward({"image": load_image(path)})
        assert resampled["image"].shape != (1, 12, 10, 8)
        restored = Invertd("image", forward, orig_keys="image", nearest_interp=False)(resampled)["image"]
        np.testing.assert_allclose(restored[0].numpy(), load_image(path)[0].numpy(), atol=4)
        SaveImaged("image", output_dir=tmp_path / "out", separate_folder=False, print_log=False)({"image": restored})
        saved = nib.load(tmp_path / "out" / "ct_trans.nii.gz")
        np.testing.assert_allclose(saved.affine, np.diag([-1.0, -1.5, 2.0, 1.0]))
        np.testing.assert_allclose(saved.get_fdata(), restored[0].numpy())

    def test_patient_text_of_the_header_stays_in_the_file(self, save, ct):
        image = load_image(save("ct.nii.gz", ct, descrip=b"DOE^JANE", aux_file=b"DOE^JANE"))
        assert "DOE" not in repr(image.meta)

    def test_four_dimensions_with_one_volume_are_three(self, save, ct):
        image = load_image(save("ct.nii.gz", ct[..., None]))
        np.testing.assert_array_equal(image[0].numpy(), ct)
        np.testing.assert_array_equal(image.meta["spatial_shape"], ct.shape)

    def test_does_not_follow_later_changes_of_the_file(self, save):
        # One row of float32 is already what is returned, so nothing but the reader itself would copy it.
        path = save("ct.nii", np.ones((1, 1, 24), np.float32))
        image = load_image(path)
        with path.open("rb+") as file:
            file.seek(352)
            file.write(bytes(96))
        assert (image == 1).all()

    @pytest.mark.parametrize(("slope", "inter"), [(1e38, 0.0), (1.0, 3.4e38), (-1e38, 3e38)])
    def test_a_scaling_that_float32_does_not_hold_is_an_error(self, save, rewrite_header, slope, inter):
        voxels = np.full((2, 2, 2), 32767, np.int16)
        path = rewrite_header(save("bad.nii", voxels), scl_slope=slope, scl_inter=inter)
        if slope == 1.0:
            assert load_image(path).isfinite().all()  # 3.4e38 + 32767 is still a float32
        else:
            with pytest.raises(StudyError, match=r"bad\.nii.*must be finite, but 8 of 8"):
                load_image(path)

    def test_a_scaling_beyond_int16_does_not_wrap_around(self, save, rewrite_header):
        path = rewrite_header(save("a.nii", np.full((2, 2, 2), 32767, np.int16)), scl_slope=1000.0, scl_inter=0.0)
        assert (load_image(path) == 32767000).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_names_count_and_first_place_of_voxels_that_are_not_finite(self, save, value):
        voxels = np.zeros((3, 4, 5), np.float32)
        voxels[1, 2, 3] = voxels[2, 0, 4] = value
        with pytest.raises(StudyError, match=r"bad\.nii.*2 of 60.*\(1, 2, 3\)"):
            load_image(save("bad.nii.gz", voxels))

    def test_long_volumes_are_read_and_checked_to_their_end(self, save):
        voxels = np.arange(3 * 4 * 41, dtype=np.float32).reshape(3, 4, 41)
        np.testing.assert_array_equal(load_image(save("long.nii.gz", voxels))[0].numpy(), voxels)
        voxels[2, 0, 1] = voxels[1, 3, 35] = voxels[1, 3, 40] = np.nan
        with pytest.raises(StudyError, match=r"3 of 492 are not; the first is nan at \(1, 3, 35\)"):
            load_image(save("bad.nii.gz", voxels))

    def test_values_beyond_float32_are_an_error(self, save):
        with pytest.raises(StudyError, match="finite"):
            load_image(save("bad.nii", np.full((2, 2, 2), 1e300)))

    @pytest.mark.real_data
    def test_agrees_with_monai_on_a_real_image(self, shared_data):
        path = shared_data / "ct" / "thorax_lps_1p5mm.nii.gz"
        image, monai = load_image(path), LoadImage(reader="NibabelReader", ensure_channel_first=True)(path)
        assert torch.equal(image.as_tensor(), monai.as_tensor())
        assert torch.equal(image.affine, monai.affine)


class TestLoadLabelMap:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
    def test_gives_uint8_whatever_is_stored(self, tmp_path, dtype):
        voxels = np.array([0, 1, 254, 255] * 6).reshape(2, 3, 4)
        nib.Nifti1Image(voxels.astype(dtype), np.eye(4), dtype=dtype).to_filename(tmp_path / "label.nii.gz")
        labels = load_label_map(tmp_path / "label.nii.gz")
        assert labels.dtype == torch.uint8
        np.testing.assert_array_equal(labels[0].numpy(), voxels)

    def test_all_background_is_a_label_map(self, save):
        assert not load_label_map(save("empty.nii.gz", np.zeros((2, 2, 2), np.uint8))).any()

    def test_forgives_the_rounding_of_a_stored_slope(self, save, rewrite_header):
        path = rewrite_header(save("label.nii", np.full((2, 2, 2), 10, np.int16)), scl_slope=0.1, scl_inter=0)
        assert nib.load(path).get_fdata()[0, 0, 0] != 1
        assert (load_label_map(path) == 1).all()

    @pytest.mark.parametrize(
        ("value", "dtype"),
        [
            (-1, np.int16),
            (256, np.int16),
            (0.5, np.float32),
            (np.nan, np.float32),
            (np.inf, np.float32),
            (1e300, float),
        ],
    )
    def test_rejects_what_is_not_a_label(self, save, value, dtype):
        voxels = np.ones((2, 3, 4), dtype)
        voxels[1, 0, 2] = value
        with pytest.raises(StudyError, match=r"bad\.nii\.gz.*0 to 255.*1 of 24.*\(1, 0, 2\)"):
            load_label_map(save("bad.nii.gz", voxels))


@pytest.mark.parametrize("load", LOADERS)
class TestDamagedData:
    """Incompressible voxels, so that a cut or a flipped bit falls into the voxels and not into padding."""

    @pytest.fixture
    def path(self, save):
        return save("a.nii.gz", np.random.default_rng(1).integers(0, 255, (16, 16, 16)).astype(np.uint8))

    @pytest.mark.parametrize("kept", [20, 400, 3000, -9, -1])
    def test_truncated_gzip(self, path, load, kept):
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(StudyError, match=r"a\.nii\.gz"):
            load(path)

    def test_voxels_that_gzip_checksum_disowns(self, path, load):
        content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
        content[2000] ^= 1  # stored, not deflated: still decompresses, to another value
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"a\.nii\.gz.*CRC"):
            load(path)

    def test_corrupt_deflate_stream(self, save, load):
        # Four values compress, so a flipped byte may break the code (zlib notices) or the voxels (the checksum does).
        path = save("a.nii.gz", np.random.default_rng(1).integers(0, 4, (16, 16, 16)).astype(np.uint8))
        sound = gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=9)
        for position in range(200, len(sound) - 10, 31):
            content = bytearray(sound)
            content[position] ^= 0xFF
            path.write_bytes(content)
            with pytest.raises(StudyError, match=r"a\.nii\.gz"):
                load(path)

    def test_uncompressed_file_cut_short(self, save, load):
        path = save("a.nii", np.ones((4, 4, 4), np.uint8))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(StudyError, match=r"a\.nii.*416 bytes.*415"):
            load(path)

    def test_compressed_file_with_too_few_voxels(self, save, rewrite_header, load):
        path = rewrite_header(save("a.nii.gz", np.ones((4, 4, 4), np.uint8)), dim=[3, 4, 4, 5, 1, 1, 1, 1])
        with pytest.raises(StudyError, match=r"a\.nii\.gz"):
            load(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "a.nii"
    nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([1.0, 2.0, 3.0, 1.0])).to_filename(path)
    return path.read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=6))
@example({42: 255, 43: 127, 44: 255, 45: 127, 46: 255, 47: 127})  # 32767 x 32767 x 32767 voxels
@example({110: 128, 111: 127})  # voxels that begin at infinity
@example({123: 255})  # units that no code stands for
def test_any_damage_to_a_header_gives_an_image_or_a_study_error(tmp_path, sound, changes):
    content = bytearray(sound)
    for position, value in changes.items():
        content[position] = value
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    with suppress(StudyError):
        assert load_image(path).isfinite().all()


class TestLoadImages:
    @pytest.fixture
    def channels(self, save, ct):
        return [save("b_0000.nii.gz", ct), save("b_0001.nii.gz", -ct), save("b_0002.nii", ct.astype(np.float32) / 2)]

    def test_stacks_channels_in_order(self, channels, ct):
        image = load_images(channels)
        assert image.dtype == torch.float32
        np.testing.assert_array_equal(image.numpy(), np.stack([ct, -ct, ct / 2]))
        assert image.meta["original_channel_dim"] == 0
        assert image.meta["filename_or_obj"] == str(channels[0])
        assert torch.equal(image.affine, load_image(channels[0]).affine)

    def test_one_is_load_image(self, channels):
        one, other = load_images(channels[:1]), load_image(channels[0])
        assert torch.equal(one.as_tensor(), other.as_tensor())
        assert np.isnan(one.meta["original_channel_dim"])

    def test_mixes_formats(self, channels, ct, tmp_path):
        SimpleITK.WriteImage(SimpleITK.ReadImage(channels[1]), tmp_path / "b_0001.mha")
        image = load_images([channels[0], tmp_path / "b_0001.mha"])
        np.testing.assert_array_equal(image.numpy(), np.stack([ct, -ct]))

    def test_other_grids_name_both_files(self, channels, save, ct):
        other = save("other.nii", ct, np.diag([0.7, 0.7, 3.0, 1.0]))
        with pytest.raises(GridError, match=r"b_0000\.nii\.gz and .*other\.nii must share.*spacing.*origin"):
            load_images([*channels, other])

    def test_names_the_channel_that_is_damaged(self, channels):
        channels[1].write_bytes(channels[1].read_bytes()[:-30])
        with pytest.raises(StudyError, match=r"b_0001\.nii\.gz: cannot be read"):
            load_images(channels)

    def test_needs_one(self):
        with pytest.raises(StudyError, match="at least one image"):
            load_images([])
