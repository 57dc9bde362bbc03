"""Steps that recipes have in common: data lists of a split, and commands."""

import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from data_sets import Case, DataSet

from rankseg_med.studies import LabelledEntry, Manifest
from rankseg_med.workflows.manifest import deal_folds

FOLDS = 5


def write_list(path: Path, cases: Sequence[Case], data_set: DataSet, data: Path, folds: Collection[int]) -> Path:
    """Data list of the cases in some of five folds, with paths relative to the data.

    Folds are dealt by case id with seed 0, as in `data_manifests/`.

    Raises:
        SystemExit: There are fewer cases than folds.
    """
    if len(cases) < FOLDS:
        raise SystemExit(f"{data}: five folds need five cases with labels, found {len(cases)}")
    fold_of = deal_folds([case.case_id for case in cases], folds=FOLDS, seed=0)
    entries = [
        LabelledEntry(
            id=case.case_id,
            image=case.image.relative_to(data).as_posix(),
            label=case.label.relative_to(data).as_posix(),
            fold=fold_of[case.case_id],
        )
        for case in cases
        if fold_of[case.case_id] in folds
    ]
    labels = {str(value): name for value, name in enumerate(("background", *data_set.label_names))}
    Manifest(name=data_set.name, labels=labels, training=entries).write(path)
    return path


def rankseg_med(*arguments: object, processes: int = 1) -> None:
    """Run one command, showing it; in several processes by torchrun."""
    launcher = ["-m", "rankseg_med"]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *launcher]
    command = [*launcher, *map(str, arguments)]
    print("$ python", *command, flush=True)
    subprocess.run([sys.executable, *command], check=True)
