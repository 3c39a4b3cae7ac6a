"""The distance of a network's outputs from those of its teacher."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["divergence"]


def divergence(student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
    """The Kullback-Leibler divergence of softened probabilities, times the temperature squared, so
    that its gradient is as large as that of the loss of labels.

    Args:
        student: logits, (rows, classes); -inf has to be written as the least finite number.
        teacher: those of its teacher, of the same shape.
        temperature: the temperature that logits are divided by.

    Returns: the mean over rows, in nats, as float32.
    Source: Hinton et al. 2015, section 2.
    """
    from torch.nn.functional import kl_div, log_softmax

    mine, wanted = (log_softmax(each.float() / temperature, -1) for each in (student, teacher))
    return kl_div(mine, wanted, reduction="batchmean", log_target=True) * temperature**2
