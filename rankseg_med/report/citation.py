"""What to cite."""

CITATION = (
    'Dai and Li. "RankSEG: A Consistent Ranking-based Framework for Segmentation." Journal of Machine Learning '
    "Research 24(224), 2023.",
    'Wang and Dai. "RankSEG-RMA: An Efficient Segmentation Algorithm via Reciprocal Moment Approximation." Advances in '
    "Neural Information Processing Systems, 2025.",
    "rankseg_med, in the version above. Pictures in 3-D: NiiVue 0.69 (BSD-2-Clause licence).",
)
"""Works that results of this package rest on."""
