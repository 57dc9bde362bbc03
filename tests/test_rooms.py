"""The table of rooms: who may import whom."""

import ast
from collections.abc import Mapping

import grimp
import pytest

from tests.conftest import REPOSITORY

# One needs torch and one MONAI, which the rest of their rooms do not; the last imports next to nothing, to be in charge
# early.
OWN_FACES = {"rankseg_med.metrics.monai", "rankseg_med.networks.architectures", "rankseg_med.cli.main"}

# Modules beside the rooms that every room may import; they import nothing of ours.
LEAVES = ("errors", "masks", "threads")

ROOMS = {
    "decode": set(),
    "cleanup": set(),
    "metrics": set(),
    "losses": set(),
    "networks": set(),
    "studies": {"decode"},
    "executors": set(),
    "calibration": {"decode"},
    "transforms": {"decode", "cleanup", "studies", "calibration"},
    "inference": {"decode", "transforms", "calibration"},
    "nnunet": {"decode", "networks", "studies", "calibration", "transforms", "inference"},
    "semisupervised": {"decode", "cleanup", "losses", "calibration"},
    "report": {"metrics", "studies"},
    # It knows every part that a config may name.
    "configuration": {"decode", "losses", "studies", "calibration", "transforms", "inference", "semisupervised"},
    "runs": {"executors", "studies"},
    "training": {
        *("calibration", "losses", "networks", "runs", "semisupervised", "studies", "transforms"),
    },
    "loss_search": {"configuration", "executors", "losses", "runs", "studies", "training", "transforms"},
    "workflows": {
        *("calibration", "configuration", "decode", "inference", "networks", "nnunet", "runs", "semisupervised"),
        *("studies", "transforms"),
    },
    "pretraining": {
        *("configuration", "inference", "networks", "runs", "studies", "training", "transforms", "workflows"),
    },
    "evaluation": {
        *("decode", "metrics", "studies", "calibration", "transforms", "report", "configuration", "runs"),
        *("executors", "inference", "workflows"),
    },
    "demo": {"configuration", "evaluation", "metrics", "networks", "report", "runs", "studies", "workflows"},
    "cli": {
        *("configuration", "demo", "evaluation", "executors", "loss_search", "networks", "report", "runs", "studies"),
        *("metrics", "nnunet", "pretraining", "training", "workflows"),
    },
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("rankseg_med")


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] not in {"__main__", *LEAVES} else None


def imports_of(graph: grimp.ImportGraph, module: str) -> set[str]:
    return graph.find_modules_directly_imported_by(module)


def check_no_circle(imports: Mapping[str, set[str]]) -> None:
    done: set[str] = set()
    while waiting := imports.keys() - done:
        ready = {name for name in waiting if imports[name] <= done}
        assert ready, f"circle among {sorted(waiting)}"
        done |= ready


def test_every_folder_is_a_room_of_the_plan(graph):
    rooms = {room_of(module) for module in graph.modules} - {None}
    assert rooms <= ROOMS.keys()
    assert {"decode", "cleanup", "metrics", "studies", "transforms", "inference", "workflows", "cli"} <= rooms


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_plan_allows(graph, room):
    for module in graph.modules:
        if room_of(module) != room:
            continue
        for imported in imports_of(graph, module):
            target = room_of(imported)
            assert target in {None, room} | ROOMS[room], f"{module} imports {imported}"


def test_the_plan_allows_nothing_that_no_room_does(graph):
    used = {(room_of(module), room_of(other)) for module in graph.modules for other in imports_of(graph, module)}
    assert not {(room, allowed) for room in ROOMS for allowed in ROOMS[room]} - used


def test_parts_of_evaluation_do_not_import_each_other_in_a_circle(graph):
    """The programs that score, compare, tune and report share a room, each in a folder of its own."""
    parts: dict[str, set[str]] = {}
    for module in graph.modules:
        if room_of(module) == "evaluation" and module.count(".") > 1:
            inside = [other for other in imports_of(graph, module) if room_of(other) == "evaluation"]
            assert "rankseg_med.evaluation" not in inside, f"{module} imports the room's face"
            parts.setdefault(module.split(".")[2], set()).update(other.split(".")[2] for other in inside)
    check_no_circle({part: imported - {part} for part, imported in parts.items()})


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_imports_nothing_of_ours(graph, leaf):
    assert not graph.find_modules_directly_imported_by(f"rankseg_med.{leaf}")


@pytest.mark.parametrize("folder", ["rankseg_med", "pipelines", "benchmarks"])
def test_nobody_imports_past_a_rooms_face(folder):
    past = []
    for path in (REPOSITORY / folder).rglob("*.py"):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module not in OWN_FACES:
                target = node.module or ""
                is_inside = target.startswith("rankseg_med.") and target.count(".") > 1
                if is_inside and room_of(target) != room_of(module):
                    past.append(f"{path.name}: {target}")
    assert not past


def test_rooms_do_not_import_each_other_in_a_circle():
    check_no_circle(ROOMS)


def test_only_the_command_line_prints():
    """ruff's T20 refuses print; here sys.exit and rich's consoles too."""
    graph = grimp.build_graph("rankseg_med", include_external_packages=True)
    for module in graph.modules:
        if module.startswith("rankseg_med.") and room_of(module) not in {"cli", None}:
            imported = graph.find_modules_directly_imported_by(module)
            assert not imported & {"typer", "click"}, module


def test_tests_import_from_no_other_test():
    """What several share has a module of its own, which one reads without looking for tests in it."""
    paths = (REPOSITORY / "tests").rglob("*.py")
    assert not [
        f"{path}: {name}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _modules_in(node)
        if any(part.startswith("test_") for part in name.split("."))
    ]


def _modules_in(node: ast.AST) -> list[str]:
    """What an import of tests may load."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith("tests.")]
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
