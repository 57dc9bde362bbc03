"""Blocks of the documentation that no test runs, and why; their options are checked all the same (test_blocks.py)."""

from tests.docs.blocks import Block

_INSTALLS = "installs; the public CI installs the wheel, and make test the checkout"
_SLURM = "needs SLURM; what it runs on each node runs in how_to/batch.md"
_KUBERNETES = "needs a Kubernetes cluster"
_DOCKER = "needs Docker or Apptainer"
_DOWNLOAD = "needs a challenge's download; tests/pipelines runs the recipes on phantoms that lie as it does"

_NOT_RUN = {
    ("README.md", "pip install"): _INSTALLS,
    ("README.md", "--executor ray"): "needs a Ray cluster; tests/executors start one",
    ("bundles.md", "pip install"): _INSTALLS,
    ("clusters.md", "--job-name=predict\n"): _SLURM,
    ("clusters.md", "exec srun rankseg-med decode"): _SLURM,
    ("clusters.md", "--job-name=predict-ray\n"): _SLURM,
    ("clusters.md", "--executor ray --workers 4"): "needs four GPUs",
    ("clusters.md", "kind: RayJob"): _KUBERNETES,
    ("clusters.md", "kubectl"): _KUBERNETES,
    ("clusters.md", "FROM rayproject/ray"): _DOCKER,
    ("clusters.md", "kind: Job\n"): _KUBERNETES,
    ("containers.md", "docker build"): _DOCKER,
    ("containers.md", "docker run"): _DOCKER,
    ("containers.md", "apptainer build"): _DOCKER,
    ("dicom.md", "pip install"): _INSTALLS,
    ("loss_search.md", "search-loss"): "trains 640 networks; tests/cli/test_search_loss.py trains four",
    ("semisupervised.md", "torchrun"): "starts four processes; tests/training trains on two",
    ("semisupervised.md", "lits_semisupervised.py"): _DOWNLOAD,
    ("stored_probabilities.md", "nnUNetv2_predict"): "needs a model that nnU-Net trained, and most often a GPU",
    ("tuning.md", "pipelines/lits.py"): _DOWNLOAD,
    ("README.md", "@software"): "BibTeX",
}
"""Of a page and words that one block of it holds: the reason."""


def reasons_not_to_run(block: Block) -> list[tuple[str, str]]:
    """The entries that mean this block; one at most, if the table is right."""
    return [(page, words) for page, words in _NOT_RUN if page == block.page and words in block.text]


def exceptions() -> set[tuple[str, str]]:
    return set(_NOT_RUN)
