from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from rankseg_med.demo.phantom import PhantomStudy, make_phantom, write_phantom

ORIENTATIONS = ["".join(codes) for axes in permutations(("RL", "AP", "SI")) for codes in product(*axes)]
COARSE = {"shape": (14, 12, 10), "spacing_mm": (20.0, 19.0, 26.0)}


@pytest.fixture(scope="module")
def phantoms() -> list[PhantomStudy]:
    return [make_phantom(seed) for seed in range(10)]


@pytest.fixture(scope="module")
def coarse() -> PhantomStudy:
    return make_phantom(1, **COARSE)


def volume_ml(study: PhantomStudy, mask: np.ndarray) -> float:
    return float(mask.sum() * abs(np.linalg.det(study.affine[:3, :3])) / 1000)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


def core(mask: np.ndarray, iterations: int = 2) -> np.ndarray:
    """The voxels far enough from other tissue to be free of partial volume."""
    return ndimage.binary_erosion(mask, iterations=iterations)


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("axis_codes", ORIENTATIONS)
def test_orientation_is_exact(coarse: PhantomStudy, axis_codes: str) -> None:
    study = make_phantom(1, axis_codes=axis_codes, **COARSE)

    assert nib.aff2axcodes(study.affine) == tuple(axis_codes)
    for stored, expected in ((study.image, coarse.image), (study.labels, coarse.labels)):
        canonical = nib.as_closest_canonical(nib.Nifti1Image(stored, study.affine))
        np.testing.assert_array_equal(np.asarray(canonical.dataobj), expected)
        np.testing.assert_allclose(canonical.affine, coarse.affine)


def test_the_grid_is_centred_with_its_spacing_and_shape() -> None:
    study = make_phantom(0, shape=(8, 10, 12), spacing_mm=(30.0, 20.0, 22.0), axis_codes="SLP", tilt_degrees=20)

    assert study.image.shape == study.labels.shape == (12, 8, 10)
    np.testing.assert_allclose(nib.affines.voxel_sizes(study.affine), (22, 30, 20))
    np.testing.assert_allclose(study.affine @ [5.5, 3.5, 4.5, 1], [0, 0, 0, 1], atol=1e-9)


@pytest.mark.parametrize("seed", [1, 5])
def test_tilt_keeps_the_anatomy_in_world_space(phantoms: list[PhantomStudy], seed: int) -> None:
    straight, tilted = phantoms[seed], make_phantom(seed, axis_codes="LPS", tilt_degrees=12)
    assert np.count_nonzero(np.abs(tilted.affine[:3, :3]) > 0.1) == 9  # every axis is oblique

    to_tilted = np.linalg.inv(tilted.affine) @ straight.affine
    resampled = ndimage.affine_transform(tilted.labels, to_tilted, output_shape=straight.labels.shape, order=0)

    assert dice(resampled > 0, straight.labels > 0) > 0.95
    assert dice(resampled == 2, straight.labels == 2) > 0.85


def test_volumes_are_plausible_and_independent_of_spacing(phantoms: list[PhantomStudy]) -> None:
    for seed in range(4):
        other = make_phantom(seed, shape=(116, 116, 102), spacing_mm=(2.5, 2.5, 2.5))
        organ_ml = volume_ml(phantoms[seed], phantoms[seed].labels > 0)
        tumour_ml = volume_ml(phantoms[seed], phantoms[seed].labels == 2)
        assert 800 < organ_ml < 1800  # adult livers
        assert volume_ml(other, other.labels > 0) == pytest.approx(organ_ml, rel=0.03)
        assert volume_ml(other, other.labels == 2) == pytest.approx(tumour_ml, rel=0.1)


def test_every_label_is_there_with_its_hounsfield_units(phantoms: list[PhantomStudy]) -> None:
    for study in phantoms:
        assert set(np.unique(study.labels)) == {0, 1, 2}
        organ = study.image[core(study.labels == 1)]
        assert 97 < organ.mean() < 113
        assert 50 < np.median(study.image[study.labels == 2]) < 90  # small ones hold some organ in their voxels
        assert -1010 < study.image[:6, :6].mean() < -980  # the corner is air
        assert 500 < np.percentile(study.image, 99.9) < 900  # bone


def test_tumours_differ_in_number_and_size(phantoms: list[PhantomStudy]) -> None:
    volumes_ml = []
    for study in phantoms:
        components, count = ndimage.label(study.labels == 2, structure=np.ones((3, 3, 3)))
        assert 1 <= count <= 5
        volumes_ml.append([volume_ml(study, components == i) for i in range(1, count + 1)])

    assert len({len(volumes) for volumes in volumes_ml}) >= 3
    assert min(map(min, volumes_ml)) < 1 < 20 < max(map(max, volumes_ml)) < 4 / 3 * np.pi * 2.9**3


def test_noise_has_the_spread_and_the_correlation_of_ct(phantoms: list[PhantomStudy]) -> None:
    for study in phantoms:
        inside = core(study.labels == 1, iterations=3)
        noise = np.where(inside, study.image - study.image[inside].mean(), 0)
        deviation = noise[inside].std()
        pairs = inside[1:] & inside[:-1]
        correlation = np.mean(noise[1:][pairs] * noise[:-1][pairs]) / deviation**2
        assert 14 < deviation < 28  # noise of 15 to 25, and a texture of 5
        assert 0.1 < correlation < 0.6


def test_left_and_right_differ(phantoms: list[PhantomStudy]) -> None:
    for study in phantoms:
        centre = study.affine @ [*ndimage.center_of_mass(study.labels > 0), 1]
        assert centre[0] > 20  # patient's right


def test_the_default_grid_holds_the_organ_and_the_body(phantoms: list[PhantomStudy]) -> None:
    for study in phantoms:
        assert not study.labels[..., [0, -1]].any()
        assert (study.image[[0, -1]] > -500).mean() < 0.01
        assert not (study.image[:, [0, -1]] > -500).any()


def test_a_threshold_does_not_find_the_organ(phantoms: list[PhantomStudy]) -> None:
    for study in phantoms:
        smooth = ndimage.gaussian_filter(study.image.astype(float), 1.5)
        alike = (smooth > 85) & (smooth < 125)
        assert volume_ml(study, core(alike) & (study.labels == 0)) > 40  # a spleen's worth of the same grey


def test_a_seed_decides_everything(coarse: PhantomStudy) -> None:
    again, another = make_phantom(1, **COARSE), make_phantom(2, **COARSE)

    np.testing.assert_array_equal(again.image, coarse.image)
    np.testing.assert_array_equal(again.labels, coarse.labels)
    assert not np.array_equal(another.labels, coarse.labels)


def test_odd_grids_sample_the_very_centre_of_the_body() -> None:
    # Voxel (3, 3, 3) is the world origin, where the distance to the body has no gradient.
    study = make_phantom(0, shape=(7, 7, 7), spacing_mm=(20.0, 20.0, 20.0))
    assert study.image[3, 3, 3] > -900


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis_codes": "RRS"}, "axis_codes.*'RRS'"),
        ({"axis_codes": "RA"}, "axis_codes"),
        ({"axis_codes": "ras"}, "axis_codes"),
        ({"shape": (8, 8)}, "shape"),
        ({"shape": (8, 0, 8)}, "shape"),
        ({"spacing_mm": (1.0, -1.0, 1.0)}, "spacing_mm"),
        ({"tilt_degrees": 45.0}, "tilt_degrees"),
        ({"tilt_degrees": float("nan")}, "tilt_degrees"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_impossible_grids_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_phantom(0, **arguments)


@pytest.mark.parametrize("grid", [{}, {"axis_codes": "ASR", "tilt_degrees": 15.0}])
def test_files_carry_the_study(tmp_path, grid: dict) -> None:
    study = make_phantom(3, **COARSE, **grid)
    paths = tmp_path / "image.nii.gz", tmp_path / "label.nii.gz"

    write_phantom(study, *paths)

    for path, expected in zip(paths, (study.image, study.labels), strict=True):
        nifti = nib.load(path)
        assert nifti.get_data_dtype() == expected.dtype
        np.testing.assert_array_equal(np.asarray(nifti.dataobj), expected)
        assert nifti.header.get_xyzt_units()[0] == "mm"
        for affine, code in (nifti.get_sform(coded=True), nifti.get_qform(coded=True)):
            assert code == 1
            np.testing.assert_allclose(affine, study.affine, atol=1e-3)
    assert set(tmp_path.iterdir()) == set(paths)
