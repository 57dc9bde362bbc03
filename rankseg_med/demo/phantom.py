"""Synthetic abdominal CT studies with known labels, for the demo, the training recipe of its network, and tests.

The anatomy is an atlas of ellipsoids in patient millimetres, bent by a smooth random warp; no grid takes part in it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8
from nibabel import orientations
from scipy import ndimage
from scipy.spatial.transform import Rotation

from rankseg_med.studies import atomic_write

Points = Float32[np.ndarray, "3 *grid"]  # RAS+ positions in mm
Values = Float32[np.ndarray, "*grid"]


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """One synthetic CT study.

    Attributes:
        image: Hounsfield units, `(X, Y, Z)`, between -1024 and 3071.
        labels: 0 background, 1 organ, 2 tumour, on the image's grid.
        affine: voxel indices to world millimetres (RAS+: right, anterior and superior are positive).
    """

    image: Int16[np.ndarray, "X Y Z"]
    labels: UInt8[np.ndarray, "X Y Z"]
    affine: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class _Ellipsoid:
    """An ellipsoid of one tissue, along the patient's axes; an infinite radius makes it a cylinder."""

    hu: float
    centre_mm: Sequence[float] | Float[np.ndarray, "3"]
    radii_mm: Sequence[float] | Float[np.ndarray, "3"]
    margin_mm: float = 0  # over which it fades into what is around it

    def distance_mm(self, points: Points) -> Values:
        """Signed distance to the surface, negative inside, exact to first order near the surface."""
        # The tiny terms keep the very centre, where the gradient vanishes, at a depth of the smallest radius.
        level = np.full(points.shape[1:], 1e-9, np.float32)
        slope = level / np.float32(min(self.radii_mm)) ** 2
        for coordinate, centre, radius in zip(points, self.centre_mm, self.radii_mm, strict=True):
            squared = ((coordinate - np.float32(centre)) / np.float32(radius)) ** 2
            level += squared
            slope += squared / np.float32(radius) ** 2
        return np.asarray(np.sqrt(level / slope) * (np.sqrt(level) - 1))


class _SmoothField:
    """A sum of plane waves in random directions: smooth, defined at every point, mean 0, standard deviation 1."""

    def __init__(self, rng: np.random.Generator, wavelengths_mm: tuple[float, float], waves: int = 8) -> None:
        directions = rng.standard_normal((waves, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        wave_numbers = 2 * np.pi / rng.uniform(*wavelengths_mm, (waves, 1))
        self.wave_vectors = (directions * wave_numbers).astype(np.float32)
        self.phases = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)

    def __call__(self, points: Points) -> Values:
        total = np.zeros(points.shape[1:], np.float32)
        for wave_vector, phase in zip(self.wave_vectors, self.phases, strict=True):
            total += np.cos(np.einsum("i,i...->...", wave_vector, points) + phase)
        return total * np.float32(np.sqrt(2 / len(self.phases)))


# The atlas, each group in the order of painting.
_INFINITE = float("inf")
_BODY = _Ellipsoid(-100, (0, 0, 0), (128, 98, _INFINITE))
_MUSCLE_WALL = _Ellipsoid(55, (0, 0, 0), (115, 84, _INFINITE))
_CAVITY = _Ellipsoid(-95, (0, 3, 0), (106, 74, _INFINITE))
_VERTEBRAE = _Ellipsoid(680, (0, -46, 0), (21, 17, _INFINITE))
_BACK = (
    *(_Ellipsoid(55, (side * 32, -58, 0), (28, 22, _INFINITE)) for side in (-1, 1)),  # muscles
    _VERTEBRAE,
    _Ellipsoid(430, (0, -46, 0), (17, 13, _INFINITE)),  # marrow
    _Ellipsoid(550, (0, -76, 0), (5, 12, _INFINITE)),  # spinous processes
)
_VISCERA = (
    *(_Ellipsoid(-820, (side * 66, -8, 132), (48, 62, 58)) for side in (-1, 1)),  # lung bases
    *(_Ellipsoid(135, (side * 56, -40, -36), (24, 22, 50)) for side in (-1, 1)),  # kidneys
    _Ellipsoid(30, (-50, 28, 28), (36, 30, 44)),  # stomach, with the gas that rises in a supine patient
    _Ellipsoid(-850, (-48, 44, 30), (20, 9, 26)),
    _Ellipsoid(155, (-10, -22, 0), (9, 9, _INFINITE)),  # aorta
    _Ellipsoid(130, (16, -22, 0), (11, 8, _INFINITE)),  # inferior vena cava
    _Ellipsoid(108, (-74, -22, 42), (27, 40, 46)),  # spleen, as bright as the organ
)
_ORGAN_LOBES_MM = (((55, 4, 28), (54, 62, 74)), ((2, 36, 52), (60, 28, 36)))  # centres and radii


class _Anatomy:
    """Everything that differs between patients, drawn before any grid is known."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.warp = [_SmoothField(rng, (140, 280)) for _ in range(3)]
        self.roughness = _SmoothField(rng, (30, 70), waves=12)
        self.bowel = _SmoothField(rng, (35, 70), waves=16)
        self.texture = _SmoothField(rng, (12, 45), waves=16)
        self.organ_hu = rng.uniform(100, 110)
        self.lobes = [
            _Ellipsoid(self.organ_hu, centre + rng.uniform(-4, 4, 3), radii * rng.uniform(0.88, 1.06, 3))
            for centre, radii in _ORGAN_LOBES_MM
        ]
        self.tumours = self._draw_tumours(rng)

    def organ_distance_mm(self, points: Points) -> Values:
        right, left = (lobe.distance_mm(points) for lobe in self.lobes)
        rough = np.minimum(right, left) + 2 * self.roughness(points)
        # The organ keeps clear of the abdominal wall and moulds itself around the spine.
        limits = np.maximum(2 + _CAVITY.distance_mm(points), 3 - _VERTEBRAE.distance_mm(points))
        return np.asarray(np.maximum(rough, limits))

    def _draw_tumours(self, rng: np.random.Generator) -> list[_Ellipsoid]:
        places = rng.uniform(-120, 120, (3, 20_000)).astype(np.float32)
        depth_mm = -self.organ_distance_mm(places)
        clearance_mm = np.full(depth_mm.shape, np.inf)
        tumours: list[_Ellipsoid] = []
        # Largest first, while there is room; log-uniform, because small lesions outnumber large ones.
        for radius_mm in np.sort(np.exp(rng.uniform(np.log(4), np.log(25), rng.integers(1, 6))))[::-1]:
            fits = np.flatnonzero((depth_mm > 0.8 * radius_mm) & (clearance_mm > radius_mm))
            if not fits.size:
                continue
            centre = places[:, fits[0]]
            margin_mm = min(8, radius_mm * rng.uniform(0.1, 1))  # infiltrating ones have no sharp edge to find
            tumours.append(_Ellipsoid(rng.uniform(50, 70), centre, radius_mm * rng.uniform(0.85, 1.15, 3), margin_mm))
            clearance_mm = np.minimum(clearance_mm, np.linalg.norm(places.T - centre, axis=1) - 1.2 * radius_mm)
        return tumours


def _render(anatomy: _Anatomy, points: Points, voxel_mm: float) -> tuple[Values, UInt8[np.ndarray, "*grid"]]:
    """Noise-free Hounsfield units and labels at world positions sampled about every `voxel_mm`."""
    hu = np.full(points.shape[1:], -1000, np.float32)

    def paint(value: float, distance_mm: Values, margin_mm: float = 0) -> None:
        # Blending over one voxel at least stands in for the partial volume effect.
        coverage = np.clip(0.5 - distance_mm / np.float32(max(margin_mm, voxel_mm)), 0, 1)
        np.add(hu, coverage * (value - hu), out=hu)

    atlas = points + np.float32(5) * np.stack([displacement(points) for displacement in anatomy.warp])
    body, cavity = _BODY.distance_mm(atlas), _CAVITY.distance_mm(atlas)
    paint(_BODY.hu, body)
    paint(_MUSCLE_WALL.hu, _MUSCLE_WALL.distance_mm(atlas))
    paint(_CAVITY.hu, cavity)
    # Loops of bowel are level sets of one smooth field, which changes by about 1 every 8 mm; gas fills those in front.
    loops, front = anatomy.bowel(points), (atlas[1] - 70) / 35
    paint(35, np.maximum(8 * (-0.2 - loops), cavity))
    paint(-700, np.maximum(8 * (0.9 - loops - front), cavity))
    for part in _BACK:
        paint(part.hu, part.distance_mm(atlas))
    to_disc_mm = np.abs(atlas[2] % 34 - 17) - 4  # discs of 8 mm between vertebrae of 26 mm
    paint(85, np.maximum(to_disc_mm, _VERTEBRAE.distance_mm(atlas) - voxel_mm))
    for part in _VISCERA:
        paint(part.hu, np.maximum(part.distance_mm(atlas), cavity))

    organ, roughness = anatomy.organ_distance_mm(atlas), anatomy.roughness(atlas)
    paint(anatomy.organ_hu, organ)
    labels = (organ < 0).astype(np.uint8)
    for tumour in anatomy.tumours:
        rough_mm = np.float32(0.08 * min(tumour.radii_mm)) * roughness
        distance_mm = np.maximum(tumour.distance_mm(atlas) + rough_mm, organ)
        paint(tumour.hu, distance_mm, tumour.margin_mm)
        labels[distance_mm < 0] = 2

    return hu + np.where(body < 0, 5 * anatomy.texture(points), 0), labels


def _check_grid(shape: tuple[int, ...], spacing_mm: tuple[float, ...], axis_codes: str, tilt_degrees: float) -> None:
    if len(shape) != 3 or min(shape) < 2:
        raise ValueError(f"shape must be three sizes of at least 2 voxels (R, A, S), got {shape}")
    if len(spacing_mm) != 3 or not min(spacing_mm) > 0:
        raise ValueError(f"spacing_mm must be three positive distances (R, A, S), got {spacing_mm}")
    if tuple(sorted(axis_codes.translate(str.maketrans("LPI", "RAS")))) != ("A", "R", "S"):
        raise ValueError(f"axis_codes must name each of R/L, A/P and S/I once, such as 'LPS', got {axis_codes!r}")
    if not abs(tilt_degrees) < 45:
        raise ValueError(f"tilt_degrees must be within 45 degrees for axis_codes to hold, got {tilt_degrees}")


def make_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (96, 96, 64),
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 4.0),
    axis_codes: str = "RAS",
    tilt_degrees: float = 0.0,
) -> PhantomStudy:
    """Make a phantom abdomen: a liver-like organ on the patient's right with 1 to 5 hypodense tumours.

    One seed is one patient, the same in world space whatever the grid. Storing the same grid along other axes gives
    exactly the reoriented arrays; another spacing, shape or tilt samples the anatomy anew, with new noise.
    The grid is centred on the world origin; the body is about 260 mm wide and 200 mm deep and runs through the field
    of view from below to above; the organ lies between about 65 mm below and 125 mm above the centre.

    Args:
        seed: which patient.
        shape: number of voxels along the patient's R, A and S axes; the stored array has them in `axis_codes` order.
        spacing_mm: distance between voxel centres along the patient's R, A and S axes.
        axis_codes: the direction in which each stored axis increases, any of the 48 orientations, such as `"LPS"`.
        tilt_degrees: rotation of the grid about the patient's (1, 1, 1) diagonal, between -45 and 45; any tilt makes
            all three axes oblique.

    Raises:
        ValueError: if a grid parameter is outside the ranges above.
    """
    _check_grid(shape, spacing_mm, axis_codes, tilt_degrees)
    # Two streams, so that the number of noise draws, which follows the grid, cannot disturb the anatomy.
    anatomy_rng, noise_rng = np.random.default_rng(seed).spawn(2)

    tilt = Rotation.from_rotvec(np.deg2rad(tilt_degrees) * np.ones(3) / np.sqrt(3)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt * np.asarray(spacing_mm)
    middle = (np.asarray(shape) - 1) / 2
    affine[:3, 3] = -affine[:3, :3] @ middle
    from_middle = np.indices(shape, np.float32) - middle.astype(np.float32).reshape(3, 1, 1, 1)
    points = np.einsum("ij,j...->i...", affine[:3, :3].astype(np.float32), from_middle)

    hu, labels = _render(_Anatomy(anatomy_rng), points, voxel_mm=float(np.mean(spacing_mm)))
    noise = ndimage.gaussian_filter(noise_rng.standard_normal(shape, dtype=np.float32), 0.5)  # correlated, as in CT
    hu += noise * np.float32(noise_rng.uniform(15, 25) / noise.std())
    image = np.rint(hu).clip(-1024, 3071).astype(np.int16)

    stored = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(axis_codes))
    return PhantomStudy(
        image=np.ascontiguousarray(orientations.apply_orientation(image, stored)),
        labels=np.ascontiguousarray(orientations.apply_orientation(labels, stored)),
        affine=affine @ orientations.inv_ornt_aff(stored, shape),
    )


def write_phantom(study: PhantomStudy, image_path: str | os.PathLike[str], label_path: str | os.PathLike[str]) -> None:
    """Write a phantom as two NIfTI files, int16 image and uint8 labels, with sform and qform both scanner-based.

    The paths end in `.nii.gz` or `.nii`; a file that is there already is replaced.
    """
    for array, path in ((study.image, image_path), (study.labels, label_path)):
        nifti = nib.Nifti1Image(array, study.affine)
        nifti.set_sform(study.affine, code=1)
        nifti.set_qform(study.affine, code=1)
        nifti.header.set_xyzt_units("mm")
        with atomic_write(path) as temporary_path:
            nib.save(nifti, temporary_path)
