import torch

from coatnet.augment.gallery import every_operation
from coatnet.augment.policy import Op
from coatnet.reporting.figures.operations import operations, torchvision_operation


def test_every_operation_looks_like_torchvisions(images):
    results = every_operation(images[0], "bilinear")
    assert set(results) == set(Op)
    for op, (values, ours) in results.items():
        assert len(values) == len(ours) == (5 if Op.ShearX <= op <= Op.Solarize else 1)
        expected = torch.stack([torchvision_operation(images[0], op, value) for value in values])
        # The border of a moved image ends otherwise; the rest is the same.
        differs = ((ours.int() - expected.int()).abs() > 2).any(1).float().mean()
        assert differs < 0.05, op.name


def test_figure_has_a_row_an_operation(images):
    figure = operations(images[0])
    assert [len(axis.images) for axis in figure.axes] == [1] * 2 * len(Op)
    names = [axis.texts[-1].get_text() for axis in figure.axes[::2]]
    assert [name.partition(",")[0] for name in names] == [op.name for op in Op]
    assert names[Op.Rotate] == "Rotate, degrees"
