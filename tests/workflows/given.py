"""Jobs of parts that are made already, such as networks that are a formula."""

from rankseg_med.workflows.label_map_job import LabelMapJob
from rankseg_med.workflows.predict import PredictJob
from rankseg_med.workflows.prediction_memory import PredictionMemory
from rankseg_med.workflows.pseudo_label import Exports, PseudoLabelJob


class GivenPrediction(PredictJob):
    def __init__(self, prediction, **described):
        LabelMapJob.__init__(self, {"prediction": repr(prediction), **described}, prediction.label_maps.folder)
        self._prediction, self._memory = prediction, PredictionMemory()

    def prediction(self):
        return self._prediction


class GivenLabeller(GivenPrediction, PseudoLabelJob):
    def __init__(self, prediction, labeller, label_names=("background", "bright"), exports=None, **described):
        super().__init__(prediction, label_names=label_names, **described)
        self._labeller, self.exports = labeller, exports or Exports()

    def labeller(self):
        return self._labeller
