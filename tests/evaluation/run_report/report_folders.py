"""Made folders of runs, and what their reports say."""

import numpy as np

from rankseg_med.studies import OutputFile, Sidecar
from tests.evaluation.conftest import save_label_map
from tests.report.written_page import facts_in

AFFINE = np.diag([10.0, 10.0, 20.0, 1.0])  # 2 ml a voxel


def save(path, labels: np.ndarray) -> None:
    save_label_map(path, labels, AFFINE)


def box(voxels: int) -> np.ndarray:
    labels = np.zeros((12, 6, 5), np.uint8)
    labels[1 : 1 + voxels, 2, 2] = 1
    return labels


DECISION = {
    **{"labels": [1], "metric": "dice", "threshold": 0.5, "voxels": 4, "expected_score": 0.8},
    **{"argmax_expected_score": 0.7, "independent_score": 0.9, "coherent_score": 0.8, "presence_probability": 1.0},
    **{"expected_volume": 4.0, "volume_sd": 1.0, "volume_interval": [3.0, 6.0]},
}


def write_sidecar(folder, case_id: str, status: str = "done", **entries) -> None:
    output = folder / f"{case_id}.nii.gz"
    given = {
        **{"case_id": case_id, "job": "predict", "status": status, "inputs": [str(folder.parent / "images" / case_id)]},
        **{"input_fingerprint": "0", "config_digest": "0", "time": "2026-11-26T23:01:06+00:00", "host": "node7:1"},
        **{"outputs": {output.name: OutputFile.of(output)} if status == "done" else {}, "seconds": 2.5},
        **{"settings": {"decoder::name": '"dice"'}, "versions": {"torch": "2"}},
    }
    Sidecar.model_validate(given | entries).write(folder)


def studies_in(path) -> dict[str, dict]:
    return {study["id"]: study for study in facts_in(path)["studies"]}
