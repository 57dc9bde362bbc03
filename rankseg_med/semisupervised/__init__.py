"""Learning from images without labels, as parts for MONAI's and Ignite's engines.

A `SupervisedTrainer` with a method as ``prepare_batch``, its ``loss`` and batches of `TwoStreams` is all there is:

    teacher = Teacher(network, decay=0.99)
    method = BidirectionalCopyPaste(teacher, PseudoLabeller("rankseg"))
    trainer = SupervisedTrainer(..., network=network, train_data_loader=TwoStreams(labelled, unlabelled),
                                prepare_batch=method, loss_function=method.loss)
    method.attach(trainer)
    trainer.run()
"""

from rankseg_med.decode import ThresholdDecoder
from rankseg_med.semisupervised.bidirectional_copy_paste import BidirectionalCopyPaste
from rankseg_med.semisupervised.copy_paste import copy_paste_mask, paste
from rankseg_med.semisupervised.ignoring_loss import IgnoringDiceCELoss
from rankseg_med.semisupervised.logits_alone import logits_alone
from rankseg_med.semisupervised.mean_teacher import MeanTeacher, sigmoid_ramp_up
from rankseg_med.semisupervised.method import SemiSupervisedMethod
from rankseg_med.semisupervised.pseudo_labels import PseudoDecoder, PseudoLabel, PseudoLabeller
from rankseg_med.semisupervised.teacher import Teacher
from rankseg_med.semisupervised.two_streams import Stream, TwoStreams
from rankseg_med.semisupervised.voxel_runs import voxel_runs

__all__ = [
    "BidirectionalCopyPaste",
    "IgnoringDiceCELoss",
    "MeanTeacher",
    "PseudoDecoder",
    "PseudoLabel",
    "PseudoLabeller",
    "SemiSupervisedMethod",
    "Stream",
    "Teacher",
    "ThresholdDecoder",
    "TwoStreams",
    "copy_paste_mask",
    "logits_alone",
    "paste",
    "sigmoid_ramp_up",
    "voxel_runs",
]
