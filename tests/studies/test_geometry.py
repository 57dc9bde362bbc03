import nibabel as nib
import numpy as np
import pytest

from rankseg_med.studies import StudyError, check_same_grid, load_label_map, read_grid, resample_label_map

AFFINE = np.array([[-0.8, 0, 0, 100.0], [0, -0.8, 0, 120.0], [0, 0, 3.0, -50.0], [0, 0, 0, 1]])
SHAPE = (100, 80, 40)


@pytest.fixture
def grid(save):
    def make(name, affine=AFFINE, shape=SHAPE, **options):
        return save(name, np.zeros(shape, np.uint8), affine, **options)

    return make


def changed(**entries):
    affine = AFFINE.copy()
    for entry, value in entries.items():
        affine[int(entry[1]), int(entry[2])] = value
    return affine


def turned(degrees):
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    # About the origin of the grid, so that only the orientation differs.
    affine = turn @ AFFINE
    affine[:3, 3] = AFFINE[:3, 3]
    return affine


@pytest.mark.parametrize(
    ("affine", "shape", "differs", "values"),
    [
        (AFFINE, (100, 80, 41), "shape", [r"\(100, 80, 40\)", r"\(100, 80, 41\)"]),
        (changed(_22=3.001), SHAPE, "spacing", [r"\(0\.8, 0\.8, 3\)", r"\(0\.8, 0\.8, 3\.001\) mm"]),
        (changed(_13=120.02), SHAPE, "origin", [r"\(100, 120, -50\)", r"\(100, 120\.02, -50\) mm"]),
        (
            turned(0.02),
            SHAPE,
            "orientation",
            [r"\(-1, 0, 0\) \(0, -1, 0\) \(0, 0, 1\)", r"\(-1, -0\.000349, 0\) \(0\.000349, -1, 0\)"],
        ),
        (changed(_00=0.8), SHAPE, "orientation", [r"\(-1, 0, 0\) \(0, -1, 0\) \(0, 0, 1\)", r"\(1, 0, 0\)"]),
    ],
)
def test_names_both_files_and_the_one_property_that_differs(grid, affine, shape, differs, values):
    first, second = grid("image.nii.gz"), grid("label.nii.gz", affine, shape)
    pattern = rf"image\.nii\.gz and .*label\.nii\.gz .*differ in {differs} {' and '.join(values)}[^;]*$"
    with pytest.raises(StudyError, match=pattern):
        check_same_grid(first, second)


def test_names_everything_that_differs(grid):
    with pytest.raises(StudyError, match=r"shape .*; spacing .*; orientation .*; origin "):
        check_same_grid(grid("a.nii"), grid("b.nii", np.diag([1.0, 1.0, 2.0, 1.0]), (5, 6, 7)))


@pytest.mark.parametrize("affine", [changed(_22=3.0001), changed(_13=120.005), turned(0.002)])
def test_forgives_rounding(grid, affine):
    check_same_grid(grid("a.nii.gz"), grid("b.nii.gz", affine))


def test_forgives_other_containers_of_the_same_grid(save):
    voxels = np.zeros((4, 5, 6), np.uint8)
    check_same_grid(save("a.nii", voxels), save("b.img", voxels[..., None], nifti=nib.Nifti2Pair))


def test_compares_what_a_qform_says_with_what_an_sform_says(grid):
    check_same_grid(grid("a.nii", qform_code=0), grid("b.nii", qform_code=1, sform_code=0))


def test_an_unusable_file_is_named(grid, tmp_path):
    with pytest.raises(StudyError, match=r"gone\.nii"):
        check_same_grid(grid("a.nii"), tmp_path / "gone.nii")


def resampled(path, target):
    return resample_label_map(load_label_map(path)[0].numpy(), read_grid(path), read_grid(target))


def save(path, voxels, affine):
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def test_the_same_grid_changes_nothing(tmp_path):
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    affine = np.array([[0, -2.0, 0, 5], [1.0, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    path = save(tmp_path / "a.nii.gz", voxels, affine)
    np.testing.assert_array_equal(resampled(path, path), voxels)


def test_finer_flipped_and_larger_grids(tmp_path):
    source = save(tmp_path / "source.nii.gz", np.array([1, 2], np.uint8).reshape(2, 1, 1), np.diag([4.0, 1, 1, 1]))
    # From x = 7 mm down in steps of 2: voxel centres at 7, 5, 3, 1, -1, -3; 4 mm voxels reach from -2 to 6.
    affine = np.array([[-2.0, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    grid = save(tmp_path / "grid.nii.gz", np.zeros((6, 1, 1), np.uint8), affine)
    assert resampled(source, grid).ravel().tolist() == [0, 2, 2, 1, 1, 0]
