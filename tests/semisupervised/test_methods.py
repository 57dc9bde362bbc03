"""Both methods: what they prepare, what they weigh, and inside a trainer."""

import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from torch.utils.data import DataLoader

from rankseg_med.losses import WeightedDiceCELoss
from rankseg_med.semisupervised import (
    BidirectionalCopyPaste,
    MeanTeacher,
    PseudoLabeller,
    Teacher,
    TwoStreams,
    bidirectional_copy_paste,
    sigmoid_ramp_up,
)

MASK = torch.tensor([[True, True, False], [True, True, True]])


class Brightness(torch.nn.Module):
    """Two classes; the foreground's logit is as bright as the image, times a parameter."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        return torch.cat([torch.zeros_like(images), self.gain * images], 1)


def method_in_iteration(iteration, make, **options):
    method = make(Teacher(Brightness()), **options)
    trainer = Engine(lambda engine, batch: None)
    method.attach(trainer)
    trainer.state.iteration = iteration
    return method


@pytest.fixture
def fixed_mask(monkeypatch):
    monkeypatch.setattr(bidirectional_copy_paste, "copy_paste_mask", lambda shape, ratio: MASK)


def batch():
    images = torch.tensor([[[1.0, 2, 3], [4, 5, 6]], [[10, 20, 30], [40, 50, 60]]])[:, None]
    labels = torch.tensor([[[0, 1, 1], [0, 0, 1]], [[1, 1, 0], [0, 1, 0]]])[:, None]
    unlabelled = torch.tensor([[[-1.0, -2, 3], [-4, -5, -6]], [[7, 8, -9], [-7, -8, -9]]])[:, None]
    return {
        "labelled": {"image": MetaTensor(images), "label": labels.to(torch.uint8)},
        "unlabelled": {"image": unlabelled},
    }


def test_mixes_and_weights_by_hand(fixed_mask):
    method = method_in_iteration(11, BidirectionalCopyPaste, pseudo_labeller=PseudoLabeller("argmax"))
    method.pretraining_iterations = 10
    images, targets = method(batch(), "cpu")
    assert not isinstance(images, MetaTensor)
    # First the labelled image with the unlabelled one's box, then the other unlabelled one with the other labelled box.
    assert images[:, 0].tolist() == [[[1, 2, 3], [4, 5, 6]], [[7, 8, 30], [-7, -8, -9]]]
    # The box of the first is 3.0 by the unlabelled image, which is bright, so its pseudo-label is 1.
    assert targets["label"][:, 0].tolist() == [[[0, 1, 1], [0, 0, 1]], [[1, 1, 0], [0, 0, 0]]]
    assert targets["truth_weight"][:, 0].tolist() == [[[1, 1, 0], [1, 1, 1]], [[0, 0, 1], [0, 0, 0]]]
    assert targets["pseudo_weight"][:, 0].tolist() == [[[0, 0, 1], [0, 0, 0]], [[1, 1, 0], [1, 1, 1]]]


def test_pretraining_mixes_labelled_images_only(fixed_mask):
    method = method_in_iteration(10, BidirectionalCopyPaste, pseudo_labeller=PseudoLabeller("argmax"))
    method.pretraining_iterations = 10
    images, targets = method(batch(), "cpu")
    assert images[:, 0].tolist() == [[[1, 2, 30], [4, 5, 6]], [[10, 20, 3], [40, 50, 60]]]
    assert targets["label"][:, 0].tolist() == [[[0, 1, 0], [0, 0, 1]], [[1, 1, 1], [0, 1, 0]]]
    assert torch.all(targets["truth_weight"] == 1)
    assert torch.all(targets["pseudo_weight"] == 0)


def test_uncertain_voxels_have_no_weight(fixed_mask):
    labeller = PseudoLabeller("argmax", min_confidence=0.9995)  # a logit of 7 gives 0.9991, one of 8 0.9997
    method = method_in_iteration(11, BidirectionalCopyPaste, pseudo_labeller=labeller, pretraining_iterations=0)
    images, targets = method(batch(), "cpu")
    assert targets["pseudo_weight"][1, 0].tolist() == [[0, 1, 0], [0, 1, 1]]
    assert method.scalars["pseudo_label/ignored_fraction"] == pytest.approx(8 / 12)  # but for 8 and 9
    logits = Brightness()(images)
    assert torch.isfinite(method.loss(logits, targets))


def test_loss_is_the_sum_over_mixes_and_regions():
    torch.manual_seed(0)
    method = method_in_iteration(1, BidirectionalCopyPaste, pseudo_labeller=PseudoLabeller(), pseudo_weight=0.3)
    logits, label = torch.randn(4, 2, 3, 4), torch.randint(0, 2, (4, 1, 3, 4))
    truth = (torch.rand(4, 1, 3, 4) > 0.5).float()
    loss = method.loss(logits, {"label": label, "truth_weight": truth, "pseudo_weight": 1 - truth})
    region = WeightedDiceCELoss()
    expected = sum(
        region(logits[mix], label[mix], truth[mix]) + 0.3 * region(logits[mix], label[mix], 1 - truth[mix])
        for mix in (slice(0, 2), slice(2, 4))
    )
    torch.testing.assert_close(loss, expected)


def test_batches_that_make_no_pairs():
    method = method_in_iteration(1, BidirectionalCopyPaste, pseudo_labeller=PseudoLabeller())
    images, labels = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="even number of labelled images and as many unlabelled"):
        method.prepare(images, labels, images)


def test_ramp():
    assert sigmoid_ramp_up(0, 100) == pytest.approx(math.exp(-5))
    assert sigmoid_ramp_up(50, 100) == pytest.approx(math.exp(-1.25))
    assert sigmoid_ramp_up(100, 100) == sigmoid_ramp_up(200, 100) == sigmoid_ramp_up(0, 0) == 1


@pytest.mark.parametrize("consistency", ["mse", "ce"])
def test_mean_teacher_loss_by_hand(consistency):
    method = method_in_iteration(50, MeanTeacher, consistency=consistency, weight=2.0, ramp_iterations=100, noise_sd=0)
    images, targets = method(batch(), "cpu")
    assert images[:, 0].tolist() == torch.cat([batch()[s]["image"] for s in batch()])[:, 0].tolist()
    torch.testing.assert_close(targets["probabilities"][:, 1:], batch()["unlabelled"]["image"].sigmoid())
    logits = Brightness()(0.5 * images)
    student, teacher = (0.5 * images[2:]).sigmoid(), images[2:].sigmoid()
    supervised = WeightedDiceCELoss()(logits[:2], targets["label"], torch.ones(2, 1, 2, 3))
    if consistency == "mse":
        disagreement = ((student - teacher) ** 2).mean()  # the same for both classes
    else:
        disagreement = -(teacher * student.log() + (1 - teacher) * (1 - student).log()).mean()
    torch.testing.assert_close(method.loss(logits, targets), supervised + 2 * math.exp(-1.25) * disagreement)


def test_mean_teacher_on_decoded_labels():
    labeller = PseudoLabeller("argmax", min_confidence=0.9995, weight_by_confidence=True)
    method = method_in_iteration(1, MeanTeacher, pseudo_labeller=labeller, noise_sd=0)
    _, targets = method(batch(), "cpu")
    assert targets["probabilities"][:, 1].tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 0]]]
    kept = batch()["unlabelled"]["image"].abs()
    expected = torch.where(kept > 7.5, kept.sigmoid(), 0)
    torch.testing.assert_close(targets["weight"], expected)


def test_the_teachers_noise_is_bounded_and_its_own():
    method = method_in_iteration(1, MeanTeacher, noise_sd=0.1)
    unlabelled = torch.zeros(2, 1, 50, 50)
    images, targets = method.prepare(unlabelled, unlabelled.long(), unlabelled)
    assert torch.all(images == 0)
    noise = targets["probabilities"][:, 1].logit()
    assert noise.abs().max() == pytest.approx(0.2, abs=1e-4)
    assert float(noise.std()) == pytest.approx(0.0959, abs=0.003)  # a normal with its tails moved to two


def loader(items, batch_size=2):
    return DataLoader(items, batch_size=batch_size)


@pytest.mark.parametrize(
    "make",
    [
        lambda teacher: MeanTeacher(teacher, ramp_iterations=0, weight=1.0),
        lambda teacher: BidirectionalCopyPaste(teacher, PseudoLabeller("rankseg"), pretraining_iterations=2),
    ],
)
def test_inside_monais_trainer(make):
    """The student learns, the teacher follows it and nothing else moves the teacher."""
    torch.manual_seed(0)
    labels = [torch.randint(0, 2, (1, 6, 6)) for _ in range(8)]
    items = [{"image": (label - 0.5) + 0.1 * torch.randn(1, 6, 6), "label": label} for label in labels]
    student = Brightness()
    teacher = Teacher(student, decay=0.5)
    method = make(teacher)
    gains, losses = [student.gain.item()], []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=TwoStreams(loader(items), loader([{"image": item["image"]} for item in items])),
        network=student,
        optimizer=torch.optim.SGD(student.parameters(), 1.0),
        loss_function=method.loss,
        prepare_batch=method,
    )
    method.attach(trainer)

    @trainer.on(Events.ITERATION_COMPLETED)
    def record(engine):
        gains.append(student.gain.item())
        losses.append(float(engine.state.output[0]["loss"]))

    trainer.run()
    assert len(losses) == 4
    assert gains[-1] > gains[0]  # brighter is foreground
    expected = gains[0]
    for gain in gains[1:]:
        expected = 0.5 * expected + 0.5 * gain
    assert float(teacher.network.gain) == pytest.approx(expected)
    assert teacher.network.gain.grad is None


def test_methods_say_what_they_lack():
    method = MeanTeacher(Teacher(Brightness()))
    with pytest.raises(RuntimeError, match=r"call attach\(trainer\) first"):
        _ = method.iteration
    with pytest.raises(ValueError, match="must be at least 0"):
        MeanTeacher(Teacher(Brightness()), weight=-1.0)
    with pytest.raises(ValueError, match="must be at least 0"):
        BidirectionalCopyPaste(Teacher(Brightness()), PseudoLabeller(), pseudo_weight=-1.0)


def test_streams_of_different_lengths():
    with pytest.raises(ValueError, match="got 2 labelled and 3 unlabelled"):
        TwoStreams(loader([1, 2, 3]), loader([1, 2, 3, 4, 5]))
    pairs = list(TwoStreams(loader([1, 2], 1), loader([3, 4], 1)))
    assert [(int(pair["labelled"]), int(pair["unlabelled"])) for pair in pairs] == [(1, 3), (2, 4)]
