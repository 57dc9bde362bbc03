import pytest
import torch
from monai.data import MetaTensor

from rankseg_med.configuration.named_losses import LOSSES
from rankseg_med.configuration.parser import Config
from rankseg_med.losses import CombinedLoss, LinearRamp, beside_labels
from rankseg_med.transforms import SignedDistances


def built(value):
    return Config({"loss": LOSSES.expanded(value)}).get_parsed_content("loss")


def batch(spatial):
    """Two images with a square each of classes 1 and 2, and their signed distances."""
    labels = torch.zeros(2, 1, *spatial, dtype=torch.uint8)
    labels[:, :, 2:6, 2:5] = 1
    labels[0, :, 6:8, 5:8] = 2
    return labels, torch.stack([SignedDistances(3)(MetaTensor(image)) for image in labels])


@pytest.mark.parametrize("spatial", [(9, 10), (9, 8, 8)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", LOSSES.components)
def test_the_call_convention_of_every_name(name, spatial):
    """A scalar, least for the truth, less after a step down its finite gradient; absent classes are defined."""
    torch.manual_seed(0)
    labels, distances_mm = batch(spatial)
    loss = built(name)
    targets = (labels, distances_mm) if "distances_mm" in beside_labels(loss) else (labels,)
    sure = 8 * torch.nn.functional.one_hot(labels[:, 0].long(), 3).movedim(-1, 1).float()
    of_truth, of_opposite = loss(sure, *targets), loss(-sure, *targets)
    assert of_truth.shape == ()
    assert of_truth < of_opposite

    logits = (0.1 * torch.randn(2, 3, *spatial)).requires_grad_()
    before = loss(logits, *targets)
    before.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    step = logits.detach() - logits.grad / logits.grad.abs().max()
    assert of_truth < loss(step, *targets) < before

    lost = torch.zeros_like(logits).requires_grad_()
    nothing = torch.zeros_like(labels), torch.zeros_like(distances_mm)
    loss(lost, *nothing[: len(targets)]).backward()
    assert torch.isfinite(lost.grad).all()


def test_dice_focal_is_their_sum_and_of_softmax():
    torch.manual_seed(0)
    labels, _ = batch((9, 10))
    logits = torch.randn(2, 3, 9, 10)
    found = built("dice_focal")(logits, labels)
    torch.testing.assert_close(found, built("dice")(logits, labels) + built("focal")(logits, labels))
    torch.testing.assert_close(built("dice_focal")(logits + 10, labels), found)


def test_generalised_dice_of_large_volumes_by_hand():
    """Of a batch of background alone the foreground's weight is the background's, $1 / n^2$."""
    labels, n = torch.zeros(2, 1, 60, 60, 60, dtype=torch.uint8), 2 * 60**3
    found = float(built("generalized_dice")(torch.zeros(2, 2, 60, 60, 60), labels))
    assert found == pytest.approx(1 - 2 * (0.5 * n) / (n + 0.5 * n + 0.5 * n), rel=1e-4)


def test_arguments_come_over_those_of_the_name():
    loss = built({"tversky": {"alpha": 0.3, "beta": 0.7, "batch": False}})
    assert (loss.alpha, loss.beta, loss.batch, loss.softmax) == (0.3, 0.7, False, True)


def test_a_sum_with_weights_schedules_and_a_component_of_ones_own():
    loss = built(
        {
            "dice_ce": 0.5,
            "lovasz": None,
            "topk_ce": {"weight": 2, "percent": 20},
            "boundary": {"weight": {"from": 0.0, "to": 0.01, "iterations": 2000}},
            "mine": {"weight": 0.1, "_target_": "torch.nn.Identity"},
        }
    )
    assert isinstance(loss, CombinedLoss)
    ramp = LinearRamp(0.0, 0.01, 2000)
    assert loss.weights == {"dice_ce": 0.5, "lovasz": 1.0, "topk_ce": 2, "boundary": ramp, "mine": 0.1}
    assert loss.losses["topk_ce"].percent == 20
    assert isinstance(loss.losses["mine"], torch.nn.Identity)
    assert loss.beside_labels == ("distances_mm",)


def test_a_sum_of_one_is_that_one():
    assert LOSSES.expanded({"lovasz": 1.0}) == LOSSES.expanded("lovasz") == LOSSES.expanded({"lovasz": None})
    assert LOSSES.expanded({"lovasz": 2.0})["weights"] == {"lovasz": 2.0}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("loss: lovasc", "loss: there is no loss lovasc; did you mean lovasz?"),
        ("loss: {dice_c: 1.0, lovasz: 1.0}", "loss: there is no loss dice_c; did you mean dice_ce? "),
        ("loss: {batch: false}", "known are boundary, ce, cldice, "),
        ("loss: {batch: false}", " (to change one argument, write loss::batch)"),
        ("loss: {}", "loss: must name a loss, or several with weights, got none"),
        ("loss: {lovasz: much}", "loss::lovasz: must have a finite number of at least 0, or {from, to, iterations}, "),
        ("loss: {focal: {weight: [1, 2]}}", "called weight, write rankseg_med.losses.CombinedLoss out"),
        ("loss: {dice: {weight: {from: 0, too: 1, iterations: 9}}}", "loss::dice::weight::too: there is no such key; "),
        (
            "loss: {dice: {weight: {from: 0, iterations: 9}}}",
            "loss::dice::weight: must say from, to, iterations, lacks to",
        ),
        ("loss: {tversky: {alpha: 0.3, bta: 0.7}}", "loss::bta: TverskyLoss has no argument bta; did you mean beta?"),
        (
            "loss: {dice: 1, topk_ce: {percnt: 5}}",
            "loss::losses::topk_ce::percnt: rankseg_med.losses.TopKCELoss has no ",
        ),
        ("loss: {_targt_: DiceLoss}", "loss::_targt_: DiceCELoss has no argument _targt_; did you mean _target_?"),
        ("loss: null", "loss: must be a component (an entry with a _target_), got None"),
    ],
)
def test_what_cannot_be_meant(refusal, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n", "train")


@pytest.mark.parametrize("entry", ["loss: lovasz", "loss::batch: false", "loss: {_target_: DiceLoss}"])
def test_a_method_has_a_loss_of_its_own(refusal, entry):
    message = refusal(f"extends: bcp_hippocampus\n{entry}\n", "train")
    assert message == (
        "loss: means nothing beside a method: rankseg_med.semisupervised.BidirectionalCopyPaste has a loss of its own; "
        "leave one of them out"
    )


def test_names_are_replaced_in_what_is_kept(load):
    """So that digests and records tell one from another, and layers above refine what a name stands for."""
    named = load("extends: demo\nloss: {dice_ce: 1.0, boundary: 0.5}\nloss::weights::boundary: $1 / 8\n", "train")
    assert named["loss"]["losses"]["boundary"] == {"_target_": "rankseg_med.losses.BoundaryLoss"}
    assert named.get_parsed_content("loss").weights["boundary"] == 0.125
    # The base's own loss.
    assert load("extends: demo\nloss: dice_ce\n", "train").get() == load("extends: demo\n", "train").get()
