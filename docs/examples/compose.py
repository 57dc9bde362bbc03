"""RankSEG in a MONAI chain, from an image file to a uint8 label map on the image's own grid.

    python docs/examples/compose.py scan.nii.gz out

The shipped demo network stands for yours; it knows phantoms only.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import Activationsd, Compose, Invertd, LoadImaged, Orientationd, SaveImaged, ScaleIntensityRanged

from rankseg_med import load_config
from rankseg_med.networks import load_weights, shipped_checkpoint
from rankseg_med.transforms import AxisSpacingd, KeepLargestComponentd, RankSEGd

PREPROCESSING = Compose(
    [
        LoadImaged("image", ensure_channel_first=True),
        Orientationd("image", "RAS", labels=None),
        AxisSpacingd("image", (3.0, 3.0, 4.0)),
        ScaleIntensityRanged("image", -160, 240, 0, 1, clip=True),
    ]
)


def postprocessing(output: Path) -> Compose:
    """Logits on the network's grid to a label map file on the image's."""
    return Compose(
        [
            Activationsd("pred", softmax=True),
            # Probabilities are brought back, not labels: linear, and decoded where they are scored.
            Invertd("pred", PREPROCESSING, orig_keys="image", nearest_interp=False, to_tensor=True),
            RankSEGd("pred", metric="dice"),  # in place of AsDiscreted("pred", argmax=True)
            KeepLargestComponentd("pred", labels=[[1, 2]]),  # organ and tumour are one body
            SaveImaged("pred", output_dir=output, output_dtype="uint8", separate_folder=False, output_postfix="seg"),
        ]
    )


def main(image: Path, output: Path) -> None:
    """Segment one image."""
    network = load_config("inference", "demo", device="cpu").get_parsed_content("network")
    load_weights(network, shipped_checkpoint("demo") or Path("best.pt"))
    data = PREPROCESSING({"image": str(image)})
    with torch.inference_mode():
        logits = sliding_window_inference(data["image"][None], (64, 64, 48), 2, network.eval(), overlap=0.5)[0]
    data["pred"] = MetaTensor(
        logits.as_tensor(), meta=data["image"].meta, applied_operations=data["image"].applied_operations
    )
    postprocessing(output)(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
