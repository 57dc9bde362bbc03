"""Steps that recipes have in common: data lists of a split, configs, training, and commands."""

import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from data_sets import Case, DataSet

from rankseg_med.configuration import ConfigError, find_config, load_config
from rankseg_med.studies import LabelledEntry, Manifest, atomic_write, write_json
from rankseg_med.training import LAST, RECORD, finished_epochs, read_states
from rankseg_med.workflows import deal_folds

FOLDS = 5

# Where a training runs and how fast.
_MAY_DIFFER = ("device", "num_workers", "cache_rate", "bundle_root", "extends")


def write_list(path: Path, cases: Sequence[Case], data_set: DataSet, data: Path, folds: Collection[int]) -> Path:
    """Data list of the cases in some of five folds, with paths relative to the data.

    Folds are dealt by case id with seed 0, as in `data_manifests/`. With other cases they would be other folds, and
    cases that were trained on would be tested on: a list that is there stays as it is.

    Raises:
        SystemExit: There are fewer cases than folds, or the list that is there is of other cases.
    """
    if len(cases) < FOLDS:
        raise SystemExit(f"{data}: five folds need five cases with labels, got {len(cases)}")
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
    manifest = Manifest(name=data_set.name, labels=labels, training=entries)
    if not path.exists():
        manifest.write(path)
    elif Manifest.read(path).model_dump() != manifest.model_dump():
        raise SystemExit(
            f"{path}: lists other cases or labels than {data} has now, which would be dealt to other folds; take "
            "another work folder, or bring the data back to what they were"
        )
    return path


def overlay_of(config: str, data_set: DataSet) -> dict[str, object]:
    """Overlay that names a data set's labels over a config: a file, or a shipped name.

    Raises:
        SystemExit: There is no such config.
    """
    try:
        extended = str(find_config(config).resolve())
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    return {"extends": extended, "label_names": ["background", *data_set.label_names]}


def train(
    overlay: Mapping[str, object],
    config: Path,
    training: Path,
    data: Path,
    run: Path,
    *,
    fold: int,
    seed: int,
    labelled: int | None = None,
    processes: int = 1,
) -> None:
    """Train to the last epoch: what is trained stays as it is, what was interrupted goes on.

    Args:
        overlay: Config to train by.
        config: File that it is written to.
        training: Data list.
        data: Folder that the list's paths are relative to.
        run: Folder of the training; ``asked.json`` beside it holds what it was started with.
        fold: Fold that validates.
        seed: Random seed.
        labelled: Number of studies whose labels may be looked at; None for all.
        processes: Processes that train together.

    Raises:
        SystemExit: The config cannot be used, the run there was started with other settings, or the command failed.
    """
    started, last = (run / RECORD).exists(), run / LAST
    # Of settings that are refused nothing stays: what was tuned extends the config that is there.
    with atomic_write(config) as candidate:
        candidate.write_text(yaml.safe_dump(dict(overlay)), encoding="utf-8")
        try:
            settings = load_config("train", candidate)
        except ConfigError as error:
            raise SystemExit(str(error).replace(str(candidate), str(config))) from error
        asked = {"fold": fold, "seed": seed, "labelled": labelled, **settings.get()}
        _keep_to(run.with_name("asked.json"), asked, started=started)
    # Not a mark of the recipe's own: one that is stopped before it is made leaves a run that cannot be resumed.
    if started and last.exists() and finished_epochs(read_states(last)) >= int(settings["epochs"]):
        return
    paths = ["--config", config, "--manifest", training, "--data-root", data, "--output", run]
    few = [] if labelled is None else ["--labelled", labelled]
    resume = ["--resume"] if started else []
    rankseg_med("train", *paths, *few, "--fold", fold, "--seed", seed, *resume, processes=processes)


def _keep_to(path: Path, asked: dict[str, Any], *, started: bool) -> None:
    """Hold fast what is asked for; refuse anything else once it is started."""
    kept = {name: value for name, value in asked.items() if name not in _MAY_DIFFER}
    wanted: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    if not started or not path.exists():
        write_json(wanted, path)
        return
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    changes = [
        f"{name}: was {before.get(name)}, is now {wanted.get(name)}"
        for name in {**before, **wanted}
        if before.get(name) != wanted.get(name)
    ]
    if changes:
        raise SystemExit(
            f"{path.parent}: holds results of other settings ({'; '.join(changes)}); take another work folder"
        )


def rankseg_med(*arguments: object, processes: int = 1) -> None:
    """Run one command, showing it; in several processes by torchrun.

    Raises:
        SystemExit: It failed, and has said why.
    """
    launcher = ["-m", "rankseg_med"]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *launcher]
    command = [*launcher, *map(str, arguments)]
    print("$ python", *command, flush=True)
    try:
        subprocess.run([sys.executable, *command], check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"rankseg-med {arguments[0]} ended with exit code {error.returncode}, see above; when that is mended, run "
            "the script again to go on"
        ) from error
