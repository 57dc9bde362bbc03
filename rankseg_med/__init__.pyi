from .calibration import IsotonicCalibration as IsotonicCalibration
from .calibration import Temperature as Temperature
from .calibration import load_calibration as load_calibration
from .calibration import save_calibration as save_calibration
from .configuration import load_config as load_config
from .decode import ArgmaxDecoder as ArgmaxDecoder
from .decode import RankSEGDecoder as RankSEGDecoder
from .decode import decode_ensemble as decode_ensemble
from .errors import RanksegMedError as RanksegMedError
from .evaluation import compare as compare
from .evaluation import compare_runs as compare_runs
from .evaluation import evaluate as evaluate
from .evaluation import plan_evaluation as plan_evaluation
from .inference import SegmentationModel as SegmentationModel
from .inference import StreamingInferer as StreamingInferer
from .runs import RunOptions as RunOptions
from .runs import run_job as run_job
from .transforms import RankSEG as RankSEG
from .transforms import RankSEGd as RankSEGd
from .workflows import DecodeJob as DecodeJob
from .workflows import PredictJob as PredictJob
from .workflows import PseudoLabelJob as PseudoLabelJob

__version__: str
