"""Write the data lists of public challenges with fixed 5-fold splits: which studies there are, never images.

    python pipelines/make_data_manifests.py [--output data_manifests]

Names of files are those of the official downloads. Numbers of the Medical Segmentation Decathlon have gaps; they are as
in each task's own ``dataset.json``. Folds are dealt with seed 0, and depend on nothing but the case ids; LiTS and
Decathlon Task03 are the same studies under other names, and have the same folds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from rankseg_med.studies import LabelledEntry, Manifest
from rankseg_med.workflows import deal_folds

_HIPPOCAMPUS = """
1 3-4 6-8 11 14-15 17 19-20 23-26 33-42 44-46 48-53 56-58 60 64-65 67-68 70 74-75 77 83-84 87-99 101-102 104-109 114
123-127 130 132-133 135-136 138 141-146 148-150 152 154-158 160-166 169-178 180-181 184-185 188-190 193-195 197 199
203-205 207 210 212 215-217 219-236 238 242-245 248-253 257 259-261 263-265 268-269 274 276-277 279-280 282 286-290
292 294-305 308-311 314 316-322 325-338 340-341 343 345 349-356 358-361 363 366-368 370 372-376 378 380-381 383
385-387 389-390 393-394
"""
_PANCREAS = """
1 4-6 10 12 15-16 18-19 21 24-25 28-29 32 35 37 40-43 45-46 48-52 55-56 58 61 64 66-67 69-71 74-75 77-78 80-81 83-84
86-89 91-96 98-107 109-111 113-114 117 119-120 122 124-127 129-131 135 137-138 140 145 147-149 155 157-160 165-167
169-170 172-173 175 178-183 186-187 191 193-194 196-201 203-204 207 209-215 217-219 222 224-231 234-236 239 241-244
246-247 249 253-256 258-259 261-262 264-270 274-280 283-287 289-305 308-313 315-316 318 320-321 323 325-331 333-334
336 339 342-348 350-351 354-358 360-362 364-367 369-370 372 374-380 382 385-389 391-393 395 398-402 404-406 409-416
418-419 421
"""
_HEPATIC_VESSEL = """
1-2 4-5 7-8 10-11 13 16 18-20 22-23 25-33 39-40 42 44 46 49-53 57-59 61-62 65-68 70-72 75 77-94 96-98 100 102-104
108 110-113 115-117 119 121 123-125 127-129 131-133 136-142 144-148 150-151 154 157-161 163-167 171-175 177-179 181
183-186 189 192-201 203 206-211 213-215 217-219 221-225 227 229-231 233-238 240 242 244-246 248 255-256 258-259
262-263 265-266 268-272 274-275 278-282 284-287 289-291 293-294 296-297 299-300 303 305 307-309 314 318-325 327
329-330 332-333 335-336 338 340-341 344-345 348-350 353 356 358-359 361-363 367-369 371-375 378-379 382-386 388-389
391 393 396-398 400-402 404 406-409 411-412 416 419-420 422-425 427 429 431-434 437-438 440-447 453-456 458
"""


@dataclass(frozen=True)
class Challenge:
    """What is listed of one data set.

    Attributes:
        file: name of the list, less `.json`.
        name: of the data set.
        labels: names of label values from 1.
        numbers: of the labelled studies, as in `1 4-6`.
        n_studies: how many the challenge says there are.
        case: case id, `{n}` standing for the number.
        image: path of its image below the data set's folder.
        label: path of its label map.
    """

    file: str
    name: str
    labels: tuple[str, ...]
    numbers: str
    n_studies: int
    case: str
    image: str
    label: str


def _decathlon(task: str, labels: tuple[str, ...], numbers: str, n_studies: int, case: str) -> Challenge:
    paths = (f"imagesTr/{case}.nii.gz", f"labelsTr/{case}.nii.gz")
    return Challenge(f"msd_{task.lower()}", f"MSD {task}", labels, numbers, n_studies, case, *paths)


CHALLENGES = (
    Challenge(
        *("lits", "LiTS", ("liver", "tumour"), "0-130", 131),
        *("volume-{n}", "volume-{n}.nii", "segmentation-{n}.nii"),
    ),
    Challenge(
        *("kits19", "KiTS19", ("kidney", "tumour"), "0-209", 210),
        *("case_{n:05}", "case_{n:05}/imaging.nii.gz", "case_{n:05}/segmentation.nii.gz"),
    ),
    _decathlon("Task03_Liver", ("liver", "cancer"), "0-130", 131, "liver_{n}"),
    _decathlon("Task04_Hippocampus", ("anterior", "posterior"), _HIPPOCAMPUS, 260, "hippocampus_{n:03}"),
    _decathlon("Task07_Pancreas", ("pancreas", "cancer"), _PANCREAS, 281, "pancreas_{n:03}"),
    _decathlon("Task08_HepaticVessel", ("vessel", "tumour"), _HEPATIC_VESSEL, 303, "hepaticvessel_{n:03}"),
)


def numbers_of(text: str) -> list[int]:
    """`"1 4-6"` to `[1, 4, 5, 6]`."""
    numbers: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def data_list(challenge: Challenge) -> Manifest:
    """The data list of a challenge, sorted by number.

    Raises:
        ValueError: if it does not have as many studies as the challenge says.
    """
    numbers = numbers_of(challenge.numbers)
    if len(numbers) != challenge.n_studies:
        raise ValueError(f"{challenge.name} has {challenge.n_studies} labelled studies, got {len(numbers)}")
    fold_of = deal_folds([challenge.case.format(n=number) for number in numbers], folds=5, seed=0)
    return Manifest(
        name=challenge.name,
        labels={str(value): name for value, name in enumerate(("background", *challenge.labels))},
        training=[
            LabelledEntry(
                id=challenge.case.format(n=number),
                image=challenge.image.format(n=number),
                label=challenge.label.format(n=number),
                fold=fold_of[challenge.case.format(n=number)],
            )
            for number in numbers
        ],
    )


def main() -> None:
    """Write every list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("data_manifests"), help="folder of the lists")
    folder: Path = parser.parse_args().output
    for challenge in CHALLENGES:
        manifest = data_list(challenge)
        manifest.write(folder / f"{challenge.file}.json")
        print(f"{challenge.file}.json: {len(manifest.training)} studies")


if __name__ == "__main__":
    main()
