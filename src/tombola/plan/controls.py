"""What a ticket is compared with: each control is a mask and what the kept weights start from."""

from collections.abc import Callable
from decimal import Decimal

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.base.specs import PruneSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS, UNSTRUCTURED
from tombola.plan.job import Job, prune, train
from tombola.plan.job import one_shot as one_shot_mask
from tombola.plan.job_spec import PERMUTED, as_mask
from tombola.plan.subject import Subject

__all__ = ["CONTROLS", "Control", "control"]

Control = Callable[[Subject, Job, Decimal, int], tuple[Job, str]]
"""(subject, ticket's mask, sparsity, seed) -> mask of the control, and what it starts from."""
CONTROLS: Registry[Control] = Registry("control")


@CONTROLS.register("random")
def random(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """Weights pruned at random, anywhere in the scope (RP of Chen et al. 2020)."""
    spec = _in_units_of(ticket, sparsity)
    what = _named("random mask", spec, seed)
    return prune(subject, spec, what, scores="random", seed=seed), "pretrained"


@CONTROLS.register("layer-random")
def layer_random(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """Weights pruned at random, as many in each matrix as in the ticket."""
    spec = _in_units_of(ticket, sparsity)
    what = _named(f"{ticket.subject.task.name}, layer-random mask", spec, seed)
    return prune(subject, spec, what, scores="random", seed=seed, like=ticket), "pretrained"


@CONTROLS.register("one-shot")
def one_shot(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The smallest pre-trained weights pruned, without any training (OMP of Chen et al. 2020)."""
    return one_shot_mask(subject, sparsity, as_mask(ticket.spec).prune.structure), "pretrained"


@CONTROLS.register("reinit")
def reinit(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The ticket's mask over fresh random weights."""
    return ticket, "reinit"


@CONTROLS.register("shuffle")
def shuffle(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The ticket's mask over the pre-trained weights of each matrix in random order."""
    return ticket, "shuffle"


@CONTROLS.register("random-init")
def random_init(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The smallest weights of a freshly initialised network pruned.

    Source: the research code of Chen et al. 2020, for its random pruning.
    """
    spec = _in_units_of(ticket, sparsity)
    what = _named("random-init mask", spec, seed)
    return prune(subject, spec, what, weights_from="random-init", seed=seed), "pretrained"


@CONTROLS.register("shuffle-layers")
def shuffle_layers(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The ticket's mask over the pre-trained matrices of whole layers in random order."""
    return ticket, "shuffle-layers"


@CONTROLS.register("small-dense")
def small_dense(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """Whole heads and neurons pruned: a smaller dense network with as many weights."""
    spec = PruneSpec(sparsity=sparsity, structure=HEADS_AND_NEURONS)
    return prune(subject, spec, "small-dense mask"), "pretrained"


@CONTROLS.register("permuted-mask")
def permuted_mask(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The ticket's mask with the rows and the columns of each matrix in random order.

    Rows and columns are as sparse as before, but those of other neurons; `layer-random` permutes
    single weights.

    Raises: SpecError, for a mask with a structure, which would be lost.
    """
    if (structure := as_mask(ticket.spec).prune.structure) != UNSTRUCTURED:
        raise SpecError(
            "permuted-mask moves single rows and columns, so its mask would not have the structure "
            f"{structure}. Leave it out of the controls."
        )
    what = f"{ticket.subject.task.name}, permuted mask, seed {seed}"
    spec = PruneSpec(sparsity=sparsity)
    return prune(subject, spec, what, scores=PERMUTED, seed=seed, like=ticket), "pretrained"


@CONTROLS.register("signs")
def signs(subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> tuple[Job, str]:
    """The ticket's mask over the signs of the pre-trained weights, of one size in each matrix."""
    return ticket, "signs"


def _in_units_of(mask: Job, sparsity: Decimal) -> PruneSpec:
    """A pruning at a sparsity, in the units of a mask; of one from elsewhere, single weights."""
    return PruneSpec(sparsity=sparsity, structure=as_mask(mask.spec).prune.structure)


def _named(what: str, spec: PruneSpec, seed: int) -> str:
    structure = "" if spec.structure == UNSTRUCTURED else f" of structure {spec.structure}"
    return f"{what}{structure}, seed {seed}"


def control(name: str, subject: Subject, ticket: Job, sparsity: Decimal, seed: int) -> Job:
    """The training of a control at the sparsity of a ticket.

    Args:
        name: a name in CONTROLS.
        subject: what it is trained on.
        ticket: the mask of the ticket it is compared with.
        sparsity: the sparsity of both.
        seed: the seed of the control's draw and of the training.
    """
    mask, init = CONTROLS[name](subject, ticket, sparsity, seed)
    return train(subject, seed, f"{name} at {sparsity:f}", mask=mask, init=init)
