"""`rankseg-med explain`."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankseg_med.cli.console import move_to, progress_bar, say
from rankseg_med.cli.interrupts import INTERRUPTED, stopped_by_signals
from rankseg_med.cli.job_options import JobOptions, with_job_options
from rankseg_med.cli.jobs import run_and_report
from rankseg_med.cli.options import ConfigsOption, DataRootOption, JobDeviceOption, SetOption, parse_changes

if TYPE_CHECKING:
    from rankseg_med.configuration import Config
    from rankseg_med.pretraining import ExplainedList
    from rankseg_med.studies import Study
    from rankseg_med.training import TrainingProgress

_log = logging.getLogger(__name__)


@with_job_options("dry_run", "report")
def explain_command(
    source: Annotated[
        Path, typer.Argument(metavar="STUDIES", help="Folder, pattern in quotes, or data list (.json, .csv).")
    ],
    config: ConfigsOption,
    output_dir: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the label maps, their weights, and the classifiers.")
    ],
    classes: Annotated[
        Path | None,
        typer.Option(help="Classes of the images: CSV with case_id,class, or a JSON object of case id to class."),
    ] = None,
    classes_by: Annotated[
        Literal["largest", "highest"] | None,
        typer.Option(
            help="Rule that derives them from the data list's label maps in place of --classes: the label with the "
            "most voxels, or the highest that occurs."
        ),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            help="Fold of the data list that is left alone, as test images are, since trainings that start from the "
            "network validate on it; -1 leaves none alone. Default: all that is listed is explained."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the classifiers and of the noise.")] = 0,
    changes: SetOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each classifier, in place of the config's.")] = None,
    device: JobDeviceOption = "auto",
    data_root: DataRootOption = None,
    *,
    options: JobOptions,
) -> None:
    """Make label maps from classes of whole images: train classifiers, and explain what they see.

    One label map and one file of weights per study, on the study's own grid, to pre-train a segmentation network on:
    data_list/pseudo_labels.json in the output folder lists them for `rankseg-med train`. A class is one of the config's
    label_names; the first is that of images without any structure. Classifiers that are trained and studies that are
    done are not done again: the same command goes on where it was stopped.
    """
    from rankseg_med.configuration import load_config
    from rankseg_med.pretraining import (
        ExplainJob,
        check_explainer,
        classes_of_label_maps,
        read_image_classes,
        with_image_classes,
        write_explained_list,
    )
    from rankseg_med.studies import Listing, find_studies
    from rankseg_med.training import split_studies

    if (classes is None) == (classes_by is None):
        raise typer.BadParameter("give either --classes or --classes-by")
    settings = load_config("train", config, device=device, changes=parse_changes(changes))
    if epochs is not None:
        settings["epochs"] = epochs
    check_explainer(settings)
    found, names = find_studies(source, data_root=data_root), settings["label_names"]
    left_alone = set[str]()
    if fold is not None:
        listed = {study.case_id for study in found}
        found, _ = split_studies(found, fold=None if fold == -1 else fold)
        left_alone = listed - {study.case_id for study in found}
    if classes is not None:
        class_of = {case: name for case, name in read_image_classes(classes).items() if case not in left_alone}
    else:
        assert classes_by is not None
        class_of = classes_of_label_maps(found, classes_by, names)
    studies = with_image_classes(found, class_of, names)
    checkpoints = _trained(settings, studies, output_dir / "classifiers", seed)
    job = ExplainJob(settings, checkpoints, studies, output_dir, seed=seed)
    stopped: typer.Exit | None = None
    try:
        run_and_report(job, Listing(source, studies), options, device=str(settings.get_parsed_content("device")))
    except typer.Exit as error:
        stopped = error
    written = write_explained_list(job, studies)
    _report(written)
    if stopped is not None:
        raise stopped
    # Other shards may yet bring what is lacking.
    if not written.is_written and not written.missing:
        raise typer.Exit(1)


def _trained(settings: Config, studies: list[Study], folder: Path, seed: int) -> list[Path]:
    """The classifiers' checkpoints.

    Raises:
        typer.Exit: It was stopped by a signal.
    """
    from rankseg_med.pretraining import number_of_classifiers, train_classifiers

    # Ignite says what exception ends a training, and so does this program.
    logging.getLogger("ignite").addHandler(logging.NullHandler())
    count, epochs = number_of_classifiers(settings), int(settings["epochs"])
    stop, started = Event(), Event()
    with stopped_by_signals(stop, in_hand=started), progress_bar("classifiers", count * epochs) as bar:

        def on_epoch(number: int, progress: TrainingProgress) -> None:
            of = (number + 1, count, progress.epoch, epochs, progress.loss)
            _log.info("classifier %d of %d, epoch %d of %d: loss %.4f", *of)
            move_to(bar, number * epochs + progress.epoch)

        checkpoints = train_classifiers(
            settings, studies, folder, seed=seed, stop=stop, on_start=started.set, on_epoch=on_epoch
        )
    if checkpoints is None:
        say("stopped; run the same command again to go on")
        raise typer.Exit(INTERRUPTED)
    return checkpoints


def _report(written: ExplainedList) -> None:
    if written.is_written:
        say(f"{len(written.listed)} studies to pre-train on in {written.path}")
        for number, right in enumerate(written.recognised, start=1):
            say(f"classifier {number}: sees the class of {right} of {len(written.listed)} images that it learnt from")
    if written.partly_seen:
        say(f"of {len(written.partly_seen)} images roi_size holds only a part; their sidecars say how much (seen)")
    if written.unexplained:
        say(f"left out: {len(written.unexplained)} without any explanation: {', '.join(written.unexplained)}")
    if written.missing:
        say(f"not in the list, since not (yet) done: {len(written.missing)} studies")
    if written.stale:
        where = "the data list is left as it was" if written.path.exists() else "no data list"
        say(f"{where}: {len(written.stale)} studies are explained with other settings; --overwrite explains them anew")
    elif written.absent:
        say(f"no data list: none of its images would be of the class {', '.join(written.absent)}")
    elif not written.listed:
        say("no data list: there is nothing to pre-train on")
