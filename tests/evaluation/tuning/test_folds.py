import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankseg_med.evaluation.tuning.folds import fold_of_patient, patient_folds

patients = st.lists(st.text("abc12", min_size=1, max_size=3), min_size=2, max_size=60).filter(lambda p: len(set(p)) > 1)


@given(patients, st.integers(2, 8), st.integers(0, 5))
def test_patients_are_never_split(patients, folds, seed):
    dealt = patient_folds(patients, folds, seed)
    everyone = [patient for some in dealt for patient in some]
    assert sorted(everyone) == sorted(set(patients))
    fold_of = fold_of_patient(dealt)
    by_case = np.array([fold_of[patient] for patient in patients])
    for fold in range(len(dealt)):
        inside = {p for p, f in zip(patients, by_case, strict=True) if f == fold}
        outside = {p for p, f in zip(patients, by_case, strict=True) if f != fold}
        assert inside
        assert not inside & outside
    sizes = [len(some) for some in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert len(dealt) == min(folds, len(set(patients)))


@given(patients, st.randoms())
def test_the_order_of_cases_does_not_matter(patients, random):
    shuffled = list(patients)
    random.shuffle(shuffled)
    assert patient_folds(shuffled, 3, 1) == patient_folds(patients, 3, 1)


def test_seeds_deal_anew():
    patients = [str(number) for number in range(30)]
    assert patient_folds(patients, 5, 0) == patient_folds(patients, 5, 0)
    assert patient_folds(patients, 5, 0) != patient_folds(patients, 5, 1)


@pytest.mark.parametrize(("patients", "folds"), [(["a", "a"], 2), (["a", "b"], 1)])
def test_too_few(patients, folds):
    with pytest.raises(ValueError, match="needs at least 2 folds and 2 patients"):
        patient_folds(patients, folds)
