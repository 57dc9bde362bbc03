import math

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import compute_average_surface_distance, compute_dice, compute_surface_dice
from monai.transforms import AsDiscreted, Compose

from rankseg_med.metrics import EmptyPolicy, EmptyRule, Evaluation, label_regions, score_label_maps, score_masks
from rankseg_med.metrics.monai import SegmentationMetric

CLASSES = 3
REGIONS = label_regions({1: "liver", 2: "tumour"})
SPACINGS_MM = [(0.5, 2.0, 3.0), (1.0, 1.5, 5.0)]


@pytest.fixture
def label_maps():
    """Predictions and references ``(sample, X, Y, Z)`` of two cases; the second misses its tumour."""
    maps = np.random.default_rng(0).choice(CLASSES, size=(2, 2, 7, 6, 5), p=[0.8, 0.12, 0.08])
    maps[0, 1][maps[0, 1] == 2] = 0
    return maps


def expected_scores(label_maps, metric):
    cases = zip(*label_maps, SPACINGS_MM, strict=True)
    rows = [score_label_maps(prediction, reference, REGIONS, spacing) for prediction, reference, spacing in cases]
    return torch.tensor([[row.values[metric] for row in case] for case in rows], dtype=torch.float64)


def one_hot(label_maps):
    return torch.nn.functional.one_hot(torch.from_numpy(label_maps), CLASSES).movedim(-1, 1)


def with_spacing(sample, spacing_mm):
    return MetaTensor(sample, affine=torch.diag(torch.tensor([*spacing_mm, 1.0])))


@pytest.mark.parametrize("metric", ["dice", "hd95_mm", "hd_mm", "assd_mm", "rmsd_mm", "surface_dice"])
class TestSameNumbers:
    def test_one_hot_batch(self, label_maps, metric):
        scores = SegmentationMetric(metric)(*map(one_hot, label_maps), spacing_mm=SPACINGS_MM)
        torch.testing.assert_close(scores, expected_scores(label_maps, metric))

    def test_label_maps(self, label_maps, metric):
        batch = [torch.from_numpy(maps)[:, None].float() for maps in label_maps]
        scores = SegmentationMetric(metric, num_classes=CLASSES)(*batch, spacing_mm=SPACINGS_MM)
        torch.testing.assert_close(scores, expected_scores(label_maps, metric))

    def test_list_of_samples_with_metadata(self, label_maps, metric):
        predictions, references = map(one_hot, label_maps)
        references = [with_spacing(*sample) for sample in zip(references, SPACINGS_MM, strict=True)]
        scores = SegmentationMetric(metric)(list(predictions), references)
        torch.testing.assert_close(scores, expected_scores(label_maps, metric))

    def test_collated_batch_with_metadata(self, label_maps, metric):
        predictions, references = map(one_hot, label_maps)
        samples = [
            {"pred": with_spacing(prediction, spacing_mm), "label": reference}
            for prediction, reference, spacing_mm in zip(predictions, references, SPACINGS_MM, strict=True)
        ]
        (batch,) = DataLoader(samples, batch_size=2)
        scores = SegmentationMetric(metric)(batch["pred"], batch["label"])
        torch.testing.assert_close(scores, expected_scores(label_maps, metric))


def test_spacing_at_the_call_comes_before_metadata(label_maps):
    samples = [with_spacing(one_hot(maps)[0], (9.0, 9.0, 9.0)) for maps in label_maps]
    scores = SegmentationMetric("hd95_mm")(samples[:1], samples[1:], spacing_mm=SPACINGS_MM[0])
    torch.testing.assert_close(scores, expected_scores(label_maps, "hd95_mm")[:1])


class TestOfMonai:
    def test_equal_where_no_mask_is_empty(self, label_maps):
        batch = [maps.float() for maps in map(one_hot, label_maps)]
        first = [sample[:1] for sample in batch]
        spacing_mm = SPACINGS_MM[0]
        assd = SegmentationMetric("assd_mm")(*first, spacing_mm=spacing_mm)
        theirs = compute_average_surface_distance(*first, symmetric=True, spacing=spacing_mm)
        torch.testing.assert_close(assd.float(), theirs, rtol=1e-5, atol=0)
        surface_dice = SegmentationMetric("surface_dice", tolerance_mm=2.0)(*first, spacing_mm=spacing_mm)
        theirs = compute_surface_dice(*first, class_thresholds=[2.0, 2.0], spacing=spacing_mm)
        torch.testing.assert_close(surface_dice.float(), theirs, rtol=1e-5, atol=0)
        torch.testing.assert_close(
            SegmentationMetric("dice", include_background=True)(*batch).float(), compute_dice(*batch)
        )

    def test_missing_everything_is_no_perfect_distance(self):
        nothing, something = torch.zeros(1, 2, 5, 5), torch.ones(1, 2, 5, 5)
        metric = SegmentationMetric("hd95_mm")
        metric(nothing, something, spacing_mm=(1.0, 3.0))
        assert metric.aggregate() == pytest.approx(math.hypot(4, 12))  # MONAI's says 0


class TestReduction:
    @pytest.fixture
    def label_maps(self, label_maps):
        """Liver in both cases; a tumour missed in the first, and in neither map of the second."""
        label_maps[0][label_maps[0] == 2] = 0
        label_maps[1, 1][label_maps[1, 1] == 2] = 0
        return label_maps

    @pytest.fixture
    def metric(self, label_maps):
        metric = SegmentationMetric("dice")
        metric(*map(one_hot, label_maps))
        return metric

    def test_same_as_the_evaluation(self, label_maps, metric):
        cases = zip(*label_maps, SPACINGS_MM, strict=True)
        scores = {str(i): score_label_maps(*case[:2], REGIONS, case[2]) for i, case in enumerate(cases)}
        evaluation = Evaluation(REGIONS, scores)
        assert metric.aggregate().item() == pytest.approx(evaluation.foreground_mean("dice"))
        by_class = [evaluation.summary(region.name, "dice").mean for region in REGIONS]
        assert metric.aggregate("mean_batch").tolist() == pytest.approx(by_class)

    def test_undefined_scores_stay_visible(self, metric):
        scores = metric.aggregate("none")
        assert scores.shape == (2, 2)
        assert scores.isnan().tolist() == [[False, False], [False, True]]

    def test_gathers_batches_until_it_is_reset(self, label_maps, metric):
        metric(*map(one_hot, label_maps))
        assert metric.aggregate("none").shape == (4, 2)
        metric.reset()
        with pytest.raises(ValueError, match="dice has nothing to aggregate"):
            metric.aggregate()

    def test_of_nothing_defined_is_undefined(self):
        metric = SegmentationMetric("hd95_mm")
        metric(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), spacing_mm=(1.0, 1.0))
        assert metric.aggregate().isnan()

    def test_policy_by_name_or_as_an_object(self):
        empty = torch.zeros(1, 2, 4, 4)
        assert SegmentationMetric("dice", empty_policy="kits")(empty, empty) == 1
        policy = EmptyPolicy(overlap=EmptyRule(0.5, 0.0, 0.0))
        assert SegmentationMetric("dice", empty_policy=policy)(empty, empty) == 0.5

    def test_surface_of_the_caller(self, label_maps):
        batch = [one_hot(maps)[:1] for maps in label_maps]
        (liver, _), *_ = SegmentationMetric("assd_mm", surface="surfels")(*batch, spacing_mm=SPACINGS_MM[0])
        masks = [maps[0] == 1 for maps in label_maps]
        metric = SegmentationMetric("assd_mm", surface="surfels")
        assert liver == score_masks(*masks, SPACINGS_MM[0], metric.scoring)["assd_mm"]


CONFIG = {
    "val_hd95": {
        "_target_": "monai.handlers.IgniteMetricHandler",
        "metric_fn": {"_target_": "rankseg_med.metrics.monai.SegmentationMetric", "metric": "hd95_mm"},
        "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
    }
}


class TestInSupervisedEvaluator:
    """The network is the identity: an image holds the predicted classes."""

    def run(self, label_maps, handler, postprocessing=None):
        samples = []
        for *maps, spacing_mm in zip(*label_maps, SPACINGS_MM, strict=True):
            image, label = (with_spacing(torch.from_numpy(labels)[None].float(), spacing_mm) for labels in maps)
            samples.append({"image": image, "label": label})
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=DataLoader(samples, batch_size=2),
            network=torch.nn.Identity(),
            postprocessing=postprocessing,
            key_val_metric={"val_hd95": handler},
        )
        evaluator.run()
        expected = expected_scores(label_maps, "hd95_mm")
        assert evaluator.state.metrics["val_hd95"] == pytest.approx(expected.mean().item())
        torch.testing.assert_close(evaluator.state.metric_details["val_hd95"], expected)

    def test_label_maps_in_batches(self, label_maps):
        metric = SegmentationMetric("hd95_mm", num_classes=CLASSES)
        self.run(label_maps, IgniteMetricHandler(metric, output_transform=from_engine(["pred", "label"])))

    def test_one_hot_samples_from_a_bundle(self, label_maps):
        handler = ConfigParser(CONFIG).get_parsed_content("val_hd95")
        self.run(label_maps, handler, Compose([AsDiscreted(["pred", "label"], to_onehot=CLASSES)]))


class TestRejections:
    def test_surface_metric_without_spacing(self):
        mask = torch.ones(1, 2, 4, 4)
        with pytest.raises(ValueError, match=r"hd95_mm needs the distance.*MetaTensors.*spacing_mm"):
            SegmentationMetric("hd95_mm")(mask, mask)

    def test_probabilities(self):
        with pytest.raises(ValueError, match=r"y_pred must hold 0 and 1 only.*\[0.5, 0.5, 0.5\].*decode"):
            SegmentationMetric()(torch.full((1, 2, 4, 4), 0.5), torch.ones(1, 2, 4, 4))

    def test_label_map_without_num_classes(self):
        with pytest.raises(ValueError, match=r"2\.0.*"):
            SegmentationMetric()(torch.full((1, 1, 4, 4), 2.0), torch.ones(1, 1, 4, 4))

    def test_label_beyond_num_classes(self):
        labels = torch.full((1, 1, 4, 4), 3)
        with pytest.raises(ValueError, match=r"from 0 to num_classes - 1 = 2 only.*\[3, 3, 3\]"):
            SegmentationMetric(num_classes=3)(labels, labels)

    def test_one_hot_with_num_classes(self):
        masks = torch.ones(1, 2, 4, 4)
        with pytest.raises(ValueError, match=r"one channel, got 2 channels"):
            SegmentationMetric(num_classes=2)(masks, masks)

    def test_single_mask_without_background(self):
        mask = torch.ones(1, 1, 4, 4)
        with pytest.raises(ValueError, match=r"background only.*include_background=True"):
            SegmentationMetric()(mask, mask)
        assert SegmentationMetric(include_background=True)(mask, mask) == 1

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"same shape.*\(2, 4, 4\) and \(1, 4, 4\).*num_classes"):
            SegmentationMetric()([torch.ones(2, 4, 4)], [torch.ones(1, 4, 4)])
        with pytest.raises(ValueError, match=r"each of the 1 samples, got 2"):
            SegmentationMetric()([torch.ones(2, 4, 4)], [torch.ones(2, 4, 4)] * 2)
        with pytest.raises(ValueError, match=r"each of the 1 samples, got none"):
            SegmentationMetric()([torch.ones(2, 4, 4)])

    @pytest.mark.usefixtures("wrong_types")
    @pytest.mark.parametrize("options", [{"reduction": "sum"}, {"surface": "mesh"}])
    def test_options_of_a_list(self, options):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be one of"):
            SegmentationMetric(**options)

    def test_other_options(self):
        with pytest.raises(ValueError, match="metrics are"):
            SegmentationMetric("accuracy")
        with pytest.raises(ValueError, match="policies"):
            SegmentationMetric(empty_policy="acdc")
        with pytest.raises(ValueError, match="tolerance_mm"):
            SegmentationMetric(tolerance_mm=-1.0)
