"""Cleanup of label maps as MONAI transforms."""

from __future__ import annotations

from collections.abc import Sequence

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils.enums import TransformBackends

from rankseg_med.cleanup import fill_holes, keep_largest_component, keep_touching, remove_small_components
from rankseg_med.transforms.label_map import apply_to_label_map, spacing_mm_of
from rankseg_med.transforms.on_each_key import OnEachKey


class KeepLargestComponent(Transform):
    """Keep the largest connected component of labels or groups of labels; the rest becomes background.

    MONAI's `KeepLargestConnectedComponent` changes its input; this one does not, and a group of labels is cleaned as
    one body.

    Args:
        labels: Labels, or groups of labels that are cleaned as one body; ``None`` for every label that occurs. See
            [`keep_largest_component`][rankseg_med.cleanup.keep_largest_component].
        connectivity: 1 for faces, up to the number of spatial axes (the default) for corners.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(self, labels: Sequence[int | Sequence[int]] | None = None, connectivity: int | None = None) -> None:
        self.labels = labels
        self.connectivity = connectivity

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one label map.

        Args:
            img: Label map ``(1, *spatial)``: integer, boolean, or floating point with whole numbers from 0 to 255.

        Returns:
            A new label map of the same kind, dtype and metadata.

        Raises:
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        return apply_to_label_map(img, lambda labels: keep_largest_component(labels, self.labels, self.connectivity))


class KeepLargestComponentd(OnEachKey):
    """Dictionary form of [`KeepLargestComponent`][rankseg_med.transforms.KeepLargestComponent].

    Args:
        keys: Keys of label maps ``(1, *spatial)``.
        labels: As for `KeepLargestComponent`.
        connectivity: As for `KeepLargestComponent`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = KeepLargestComponent.backend

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[int | Sequence[int]] | None = None,
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, KeepLargestComponent(labels, connectivity), allow_missing_keys)


KeepLargestComponentD = KeepLargestComponentDict = KeepLargestComponentd


class RemoveSmallComponents(Transform):
    """Set connected components of less than a volume to background.

    MONAI's `RemoveSmallObjects` takes one-hot volumes and cleans all channels alike; this one takes label maps, and
    labels or groups of them.

    Args:
        minimum_ml: Smallest volume in millilitres that stays.
        labels: Labels, or groups of labels that are cleaned as one body; ``None`` for every label that occurs. See
            [`remove_small_components`][rankseg_med.cleanup.remove_small_components].
        connectivity: 1 for faces, up to the number of spatial axes (the default) for corners.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(
        self,
        minimum_ml: float,
        labels: Sequence[int | Sequence[int]] | None = None,
        connectivity: int | None = None,
    ) -> None:
        self.minimum_ml = minimum_ml
        self.labels = labels
        self.connectivity = connectivity

    def __call__(self, img: MetaTensor) -> NdarrayOrTensor:
        """Clean one label map ``(1, *spatial)`` of whole numbers, whose affine tells its spacing; gives a new one.

        Raises:
            TypeError: Not a MetaTensor.
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        spacing_mm = spacing_mm_of(img)
        return apply_to_label_map(
            img,
            lambda label_map: remove_small_components(
                label_map, spacing_mm, self.minimum_ml, self.labels, self.connectivity
            ),
        )


class RemoveSmallComponentsd(OnEachKey):
    """Dictionary form of [`RemoveSmallComponents`][rankseg_med.transforms.RemoveSmallComponents].

    Args:
        keys: Keys of label maps ``(1, *spatial)`` with an affine.
        minimum_ml: As for `RemoveSmallComponents`.
        labels: As for `RemoveSmallComponents`.
        connectivity: As for `RemoveSmallComponents`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = RemoveSmallComponents.backend

    def __init__(
        self,
        keys: KeysCollection,
        minimum_ml: float,
        labels: Sequence[int | Sequence[int]] | None = None,
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RemoveSmallComponents(minimum_ml, labels, connectivity), allow_missing_keys)


RemoveSmallComponentsD = RemoveSmallComponentsDict = RemoveSmallComponentsd


class KeepTouching(Transform):
    """Set the components of labels that neither touch nor lie in their organ to background.

    Args:
        labels: What to clean: labels, or groups of labels that are one body. See
            [`keep_touching`][rankseg_med.cleanup.keep_touching].
        organ: The label, or labels, that each component must be a neighbour of.
        connectivity: 1 for faces, up to the number of spatial axes (the default) for corners.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(
        self, labels: Sequence[int | Sequence[int]], organ: int | Sequence[int], connectivity: int | None = None
    ) -> None:
        self.labels = labels
        self.organ = organ
        self.connectivity = connectivity

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one label map ``(1, *spatial)`` of whole numbers; gives a new one of the same kind.

        Raises:
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        return apply_to_label_map(
            img, lambda label_map: keep_touching(label_map, self.labels, self.organ, self.connectivity)
        )


class KeepTouchingd(OnEachKey):
    """Dictionary form of [`KeepTouching`][rankseg_med.transforms.KeepTouching].

    Args:
        keys: Keys of label maps ``(1, *spatial)``.
        labels: As for `KeepTouching`.
        organ: As for `KeepTouching`.
        connectivity: As for `KeepTouching`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = KeepTouching.backend

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[int | Sequence[int]],
        organ: int | Sequence[int],
        connectivity: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, KeepTouching(labels, organ, connectivity), allow_missing_keys)


KeepTouchingD = KeepTouchingDict = KeepTouchingd


class FillLabelHoles(Transform):
    """Give background that a label or group encloses the label of the organ.

    MONAI's `FillHoles` leaves background that borders on several labels; this one fills it, and takes a group of
    labels, such as an organ and its tumour, for one body.

    Args:
        labels: Labels, or groups of labels that are one body and are filled with their first label; ``None`` for every
            label that occurs. See [`fill_holes`][rankseg_med.cleanup.fill_holes].
        overwrite: Whether other labels inside a hole are filled too.
    """

    backend = (TransformBackends.NUMPY,)

    def __init__(self, labels: Sequence[int | Sequence[int]] | None = None, overwrite: bool = False) -> None:
        self.labels = labels
        self.overwrite = overwrite

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Clean one label map ``(1, *spatial)`` of whole numbers; gives a new one of the same kind.

        Raises:
            ValueError: Several channels (one-hot), or values that are no labels.
        """
        return apply_to_label_map(img, lambda label_map: fill_holes(label_map, self.labels, self.overwrite))


class FillLabelHolesd(OnEachKey):
    """Dictionary form of [`FillLabelHoles`][rankseg_med.transforms.FillLabelHoles].

    Args:
        keys: Keys of label maps ``(1, *spatial)``.
        labels: As for `FillLabelHoles`.
        overwrite: As for `FillLabelHoles`.
        allow_missing_keys: Whether keys may be absent.
    """

    backend = FillLabelHoles.backend

    def __init__(
        self,
        keys: KeysCollection,
        labels: Sequence[int | Sequence[int]] | None = None,
        overwrite: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, FillLabelHoles(labels, overwrite), allow_missing_keys)


FillLabelHolesD = FillLabelHolesDict = FillLabelHolesd
