"""Whatever is done to a file, it loads or is refused with a StudyError: no crash, no hang, no memory beyond 200 MB."""

import gzip
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.studies.dicom_files import write_series
from tests.studies.reader_process import ReaderProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory through /proc")

SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HEADER_BYTES = 700

bytes_in = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"9" * 8, b"\xff" * 4, b"\x7f\xff", b"\0" * 8, b" -1 ", b"nan", b"1e300 ", b"\n", b"\n\n"]),
)
changes = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "cut"]), st.integers(0, HEADER_BYTES), bytes_in),
    min_size=1,
    max_size=4,
)


def changed(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for how, place, new in changes:
        place %= len(content) + 1
        rest = {
            "set": content[place + len(new) :],
            "insert": content[place:],
            "delete": content[place + 4 :],
            "cut": b"",
        }
        content = content[:place] + new + rest[how]
    return content


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    process = ReaderProcess()
    yield process
    process.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def sound(folder) -> dict[str, bytes]:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 5)).astype(np.int16)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing((1, 2, 3))
    for name in ("raw.mha", "raw.nrrd"):
        SimpleITK.WriteImage(image, folder / name)
    for name in ("deflated.mha", "deflated.nrrd"):
        SimpleITK.WriteImage(image, folder / name, True)
    for nifti, name in ((nib.Nifti1Image, "one.nii"), (nib.Nifti2Image, "two.nii"), (nib.Nifti1Image, "one.nii.gz")):
        nifti(voxels, np.diag([1.0, 2.0, 3.0, 1.0])).to_filename(folder / name)
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def assert_loads_or_is_refused(reader: ReaderProcess, path: Path) -> None:
    assert reader.read(path) in ("ok", "StudyError")


NAMES = ["one.nii", "two.nii", "one.nii.gz", "raw.mha", "deflated.mha", "raw.nrrd", "deflated.nrrd"]


@pytest.mark.parametrize("name", NAMES)
def test_sound_files_load(reader, folder, sound, name):
    assert reader.read(folder / name) == "ok"


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(changes=changes)
def test_changed_bytes(reader, folder, sound, name, changes):
    path = folder / f"changed_{name}"
    path.write_bytes(changed(sound[name], changes))
    assert_loads_or_is_refused(reader, path)


@SETTINGS
@given(changes=changes)
def test_changed_bytes_before_compression(reader, folder, sound, changes):
    path = folder / "again.nii.gz"
    path.write_bytes(gzip.compress(changed(sound["one.nii"], changes)))
    assert_loads_or_is_refused(reader, path)


FIELDS = [name for name in nib.Nifti1Header.template_dtype.names if name != "magic"]


@pytest.mark.real_data
@SETTINGS
@given(
    fields=st.dictionaries(
        st.sampled_from(FIELDS), st.one_of(st.integers(-(2**15), 2**15 - 1), st.floats()), max_size=3
    )
)
def test_changed_header_fields_of_a_real_image(reader, folder, shared_data, fields):
    original = min((shared_data / "hippocampus" / "images").glob("*.nii.gz"))
    content = gzip.decompress(original.read_bytes())
    header = np.frombuffer(content[:348], nib.Nifti1Header.template_dtype).copy()
    with np.errstate(all="ignore"):
        for name, value in fields.items():
            kind = header[name].dtype.kind
            if kind == "S":
                header[name] = str(value).encode()
            elif kind == "f" or np.isfinite(value):
                header[name] = np.asarray(value, float).astype(header[name].dtype)
    path = folder / "fields.nii.gz"
    path.write_bytes(gzip.compress(header.tobytes() + content[348:], compresslevel=1))
    assert_loads_or_is_refused(reader, path)


@SETTINGS
@given(number=st.integers(0, 3), changes=changes)
def test_changed_bytes_of_a_dicom_slice(reader, folder, number, changes):
    original = folder / "series"
    if not original.exists():
        write_series(original, np.zeros((6, 7, 4), np.int16))
        assert reader.read(original) == "ok"
    series = folder / "changed_series"
    shutil.copytree(original, series, dirs_exist_ok=True)
    path = series / f"{number}.dcm"
    path.write_bytes(changed(path.read_bytes(), changes))
    assert_loads_or_is_refused(reader, series)


@pytest.mark.parametrize("name", ["claims.nii", "claims.nii.gz", "claims.mha", "claims.nrrd"])
def test_a_claim_beyond_the_limit_takes_no_memory(reader, folder, sound, name):
    content = sound[{"claims.mha": "raw.mha", "claims.nrrd": "raw.nrrd"}.get(name, "one.nii")]
    for before, after in (
        (b"DimSize = 6 7 5", b"DimSize = 2000 2000 2000"),
        (b"sizes: 6 7 5", b"sizes: 2000 2000 2000"),
    ):
        content = content.replace(before, after)
    if ".nii" in name:
        content = content[:42] + np.array([2000] * 3, "<i2").tobytes() + content[48:]
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert reader.read(path) == "StudyError"


def test_the_reader_s_memory_is_limited(reader, folder):
    # Else nothing above says anything about memory.
    path = folder / "large.nii.gz"
    nib.Nifti1Image(np.broadcast_to(np.uint8(0), (400, 400, 400)), np.eye(4)).to_filename(path)
    assert reader.read(path).startswith(("MemoryError", "crashed"))


def test_an_extension_that_claims_more_than_there_is(reader, folder, sound):
    content = sound["one.nii"]
    path = folder / "extension.nii"
    path.write_bytes(content[:348] + b"\1\0\0\0" + np.array([2**31 - 16, 6], "<i4").tobytes() + content[352:])
    assert reader.read(path) == "StudyError"
