from itertools import combinations, pairwise, product

import pytest
import torch

from rankseg_med.losses import LovaszSoftmaxLoss


def jaccard_loss_of_errors(wrong: set[int], truth: set[int]) -> float:
    """1 - IoU of the label map that is wrong in exactly these voxels, by sets."""
    predicted = truth ^ wrong
    union = truth | predicted
    return 1 - len(truth & predicted) / len(union) if union else 0.0


def lovasz_extension(errors: list[float], truth: set[int]) -> float:
    """By the Choquet integral: of the loss of every upper level set over all levels; shares no step with the code."""
    levels = sorted({0.0, *errors})
    return sum(
        (high - low) * jaccard_loss_of_errors({i for i, error in enumerate(errors) if error >= high}, truth)
        for low, high in pairwise(levels)
    )


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_lovasz_extension_of_the_jaccard_loss(seed):
    torch.manual_seed(seed)
    logits, labels = torch.randn(2, 3, 5, dtype=torch.float64), torch.randint(0, 3, (2, 1, 5))
    p = logits.softmax(1)
    by_image = []
    for image in range(2):
        by_class = []
        for c in set(labels[image, 0].tolist()):
            truth = {i for i in range(5) if labels[image, 0, i] == c}
            errors = [abs((i in truth) - float(p[image, c, i])) for i in range(5)]
            by_class.append(lovasz_extension(errors, truth))
        by_image.append(sum(by_class) / len(by_class))
    assert float(LovaszSoftmaxLoss()(logits, labels)) == pytest.approx(sum(by_image) / 2, abs=1e-12)


@pytest.mark.parametrize("voxels", [3, 4])
def test_of_label_maps_it_is_the_jaccard_loss(voxels):
    """All truths and all predictions; a class that the truth lacks does not count."""
    everything = [set(chosen) for size in range(voxels + 1) for chosen in combinations(range(voxels), size)]
    for truth, predicted in product(everything, everything):
        labels = torch.tensor([[[int(i in truth) for i in range(voxels)]]])
        sure = torch.tensor([[50.0 if i in predicted else -50.0 for i in range(voxels)]])
        background, foreground = set(range(voxels)) - truth, truth
        expected = [jaccard_loss_of_errors(truth ^ predicted, part) for part in (background, foreground) if part]
        loss = LovaszSoftmaxLoss()(torch.stack([-sure, sure], 1), labels)
        assert float(loss) == pytest.approx(sum(expected) / len(expected), abs=1e-6)


def test_one_class_by_hand():
    """Errors of both classes are 0.4 in the first voxel and 0.3 in the second."""
    logits = torch.stack([torch.zeros(2), torch.tensor([0.6, 0.3]).logit()])[None]
    # Background: truth is the second voxel, errors 0.4 and 0.3 too; half the union is lost with the first.
    assert float(LovaszSoftmaxLoss()(logits, torch.tensor([[[1, 0]]]))) == pytest.approx(
        (0.4 + 0.5 * 0.4 + 0.5 * 0.3) / 2
    )


def test_images_count_alike_and_absent_classes_not():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 3, 3, 3), torch.randint(0, 2, (2, 1, 3, 3, 3))
    loss = LovaszSoftmaxLoss()
    both = [float(loss(logits[i : i + 1], labels[i : i + 1])) for i in range(2)]
    assert float(loss(logits, labels)) == pytest.approx(sum(both) / 2)
    # Of a class that is everywhere, each wrong voxel costs the same.
    alone = loss(logits[:1], torch.zeros(1, 1, 3, 3, 3))
    assert float(alone) == pytest.approx(float(1 - logits[0].softmax(0)[0].mean()), abs=1e-6)
