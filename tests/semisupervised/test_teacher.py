import pytest
import torch
from ignite.engine import Engine

from rankseg_med.calibration import Temperature
from rankseg_med.errors import InputError
from rankseg_med.semisupervised import Teacher


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.BatchNorm2d(2))


def train_with_recorded_history(student, teacher, steps):
    """Change every parameter and statistic at random; returns the student's state after each step, the first first."""
    history = [clone(student)]

    def step(engine, batch):
        with torch.no_grad():
            for tensor in student.state_dict().values():
                tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 3)
        history.append(clone(student))

    engine = Engine(step)
    teacher.attach(engine)
    engine.run([None], max_epochs=steps, epoch_length=1)
    return history


def clone(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("decay", [0.99, 0.5])
def test_average_is_the_closed_form(decay):
    student = network()
    teacher = Teacher(student, decay, "average")
    k = 7
    history = train_with_recorded_history(student, teacher, k)
    for name, averaged in teacher.network.state_dict().items():
        values = [state[name].double() for state in history]
        if name.endswith("num_batches_tracked"):
            assert averaged == 3 * k
            continue
        expected = decay**k * values[0] + sum((1 - decay) * decay ** (k - i) * values[i] for i in range(1, k + 1))
        torch.testing.assert_close(averaged.double(), expected, rtol=1e-5, atol=1e-6)


def test_updates_come_every_so_many_iterations():
    student = network()
    teacher = Teacher(student, 0.5, every=3)
    history = train_with_recorded_history(student, teacher, 7)
    weights = [state["0.weight"] for state in history]
    expected = 0.25 * weights[0] + 0.25 * weights[3] + 0.5 * weights[6]
    torch.testing.assert_close(teacher.network.state_dict()["0.weight"], expected)


@pytest.mark.parametrize("buffers", ["average", "copy", "own"])
def test_no_tensor_is_shared_with_the_student(buffers):
    student = network()
    teacher = Teacher(student, 0.9, buffers)
    train_with_recorded_history(student, teacher, 2)
    addresses = {tensor.data_ptr() for tensor in student.state_dict().values()}
    assert not addresses & {tensor.data_ptr() for tensor in teacher.network.state_dict().values()}


def test_buffers_copied_and_own():
    student = network()
    copying, own = Teacher(student, 0.9, "copy"), Teacher(student, 0.9, "own")
    before = clone(own.network)
    train_with_recorded_history(student, copying, 2)
    torch.testing.assert_close(copying.network[1].running_mean, student[1].running_mean)
    assert not copying.network.training
    train_with_recorded_history(student, own, 2)
    torch.testing.assert_close(own.network[1].running_mean, before["1.running_mean"])
    assert own.network.training
    images = torch.randn(4, 1, 5, 5) + 2
    own.probabilities(images)
    own_mean = own.network[0](images).mean((0, 2, 3))
    torch.testing.assert_close(own.network[1].running_mean, 0.1 * own_mean)


def test_the_teacher_gets_no_gradient():
    teacher = Teacher(network())
    probabilities = teacher.probabilities(torch.randn(2, 1, 6, 6))
    assert not probabilities.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 6, 6))


@pytest.mark.parametrize("options", [{"decay": 1.0}, {"decay": 0.0}, {"buffers": "shared"}, {"every": 0}])
def test_wrong_options(wrong_types, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Teacher(network(), **options)


def test_probabilities_are_calibrated_where_there_is_a_calibration():
    calibration, student, images = Temperature(2), network(), torch.randn(3, 1, 5, 5)
    raw = Teacher(student).probabilities(images)
    teacher = Teacher(student, calibration=calibration)
    assert torch.equal(teacher.probabilities(images), raw)
    calibration.load_state_dict({"inverse_temperature": torch.tensor(2.0), "bias": torch.tensor([0.0, -1.0])})
    expected = raw**2 * torch.tensor([0.0, -1.0]).exp()[:, None, None]
    torch.testing.assert_close(teacher.probabilities(images), expected / expected.sum(1, keepdim=True))


def test_two_teachers_of_one_trainer_have_a_decay_each():
    student = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(student.weight)
    teachers = [Teacher(student, decay) for decay in (0.5, 0.9)]
    engine = Engine(lambda engine, batch: torch.nn.init.ones_(student.weight))
    for teacher in teachers:
        teacher.attach(engine)
    engine.run([None])
    assert [float(teacher.network.weight) for teacher in teachers] == pytest.approx([0.5, 0.1])


def test_a_student_that_returns_a_list_has_no_teacher():
    """Such as of logits and edges; a teacher that stays in train mode returns it too."""

    class WithEdges(torch.nn.Conv3d):
        def forward(self, images):
            logits = super().forward(images)
            return [logits, logits[:, :1]] if self.training else logits

    images, network = torch.zeros((1, 1, 4, 4, 4)), WithEdges(1, 2, 1)
    assert Teacher(network).probabilities(images).shape == (1, 2, 4, 4, 4)
    for calibration in (None, Temperature(2)):
        with pytest.raises(InputError, match=r"logits alone, but the network gives a list of 2.*edges_in_training"):
            Teacher(network, buffers="own", calibration=calibration).probabilities(images)
