"""A ticket: a mask and its provenance, stored as a folder of two files without code."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn

from tombola.base.errors import SpecError, TicketError, naming_keywords
from tombola.base.fields import StrPath, path_text
from tombola.base.folders import check_folder, write_folder
from tombola.base.keys import exact_fraction
from tombola.base.rounding import percent
from tombola.base.text import html_table, printable
from tombola.ticket.coder import MASK_NAME
from tombola.ticket.extensions import FASTER, HUB
from tombola.ticket.format import (
    CARD_NAME,
    FORMAT,
    FORMAT_VERSION,
    JSON_NAME,
    WEIGHT_LIMIT,
    Document,
    check_is_ticket,
    read_ticket,
    ticket_files,
)
from tombola.ticket.hold.network import hold_model
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.mask import Mask
from tombola.ticket.schedule import pruned_count
from tombola.ticket.versions import versions

__all__ = ["Ticket", "check_ticket_folder"]

M = TypeVar("M", bound=nn.Module)

NAMES = (JSON_NAME, MASK_NAME, CARD_NAME)
"""What a folder may hold for a ticket to replace it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Ticket:
    """A mask and its provenance."""

    mask: Mask
    """Which weights are kept."""

    model: str
    """Name of the pre-trained network."""

    fingerprint: str
    """The `fingerprint` of that network: 64 hexadecimal digits."""

    scope: str
    """Which parameters could be pruned: a name in SCOPES."""

    sparsity: Decimal
    """Fraction of the scope that is pruned, as an exact decimal."""

    schedule: str | None = None
    """How the sparsity rose from round to round: a name in SCHEDULES."""

    step: Decimal | None = None
    """Fraction that one round removed."""

    task: str | None = None
    """Task whose training chose the mask."""

    seed: int | None = None
    """Seed of that training."""

    scores: str | None = None
    """What ranked the weights: the `scores` of the finder."""

    versions: dict[str, str] = field(default_factory=versions)
    """Versions of the packages that made it."""

    created_by: str = ""
    """Program and version that wrote it."""

    provenance: dict[str, Any] = field(default_factory=dict)
    """Anything else that JSON can hold."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsity", exact_fraction(self.sparsity))
        wanted = pruned_count(self.sparsity, self.mask.size)
        if self.mask.pruned != wanted:
            raise TicketError(
                f"a ticket of sparsity {self.sparsity} prunes {wanted} of {self.mask.size} "
                f"weights, got a mask that prunes {self.mask.pruned}. Use the mask's own sparsity."
            )
        if not self.created_by:
            maker = f"tombola {self.versions.get('tombola', 'unknown')}"
            object.__setattr__(self, "created_by", maker)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._summary())
        return printable(f"<Ticket: {facts}>")

    def _repr_html_(self) -> str:
        """The summary as a table, for notebooks."""
        return html_table(self._summary(), caption="Ticket")

    def _summary(self) -> list[tuple[str, str]]:
        """What a reader wants to know first: name and value."""
        pruned = f"{self.mask.pruned:,} of {self.mask.size:,} weights pruned"
        found = [("task", self.task), ("seed", self.seed)]
        return [
            ("model", self.model),
            ("scope", self.scope),
            ("sparsity", f"{percent(self.sparsity)} ({pruned})"),
            *((name, str(value)) for name, value in found if value is not None),
        ]

    @naming_keywords()
    def apply(self, model: M, *, scope: str | None = None) -> M:
        """Make the ticket's pruned weights +0.0 in a network, in place, and return it.

        They stay zero until something trains them; `hold` keeps them zero.

        Args:
            model: a network, or a wrapper of one, see `hold`.
            scope: the scope, as in `hold`.

        Raises: TicketError, if the network has other tensors, naming the first that differs.
        """
        mask = self.mask_for(scope)
        mask.fill(masked_parameters(model, mask))
        return model

    def hold(self, model: nn.Module, *, scope: str | None = None) -> AbstractContextManager[None]:
        """Keep the ticket's pruned weights at zero while a network is trained:

            with ticket.hold(model):
                train(model)

        Their gradients are zero before anything clips them, and they are +0.0 after each step of
        any `torch.optim` optimizer.

        Args:
            model: a network, or one inside DataParallel, DDP, `torch.compile` or PEFT.
            scope: `encoder` leaves out the pooler of a ticket that covers it, for a network
                without one; by default all that the ticket covers.

        Raises: TicketError, if the network has other tensors, or is sharded or quantised.
        """
        return hold_model(model, self.mask_for(scope))

    def shrink(self, model: M, *, scope: str | None = None) -> M:
        """A copy of a network without the attention heads and neurons that the ticket prunes whole.

        It is a smaller dense network with the same outputs, for any device. What can't be cut out
        stays as it is.

        Args:
            model: a network in which the ticket's pruned weights are zero; it is left alone.
            scope: the scope, as in `hold`.

        Raises: TicketError, if `model` lacks the ticket's tensors, or a pruned weight is not zero.
        """
        return cast(M, FASTER["shrink"](model, self.mask_for(scope)))

    def compile(
        self, model: M, *, dtype: str = "float32", tokens: int = 128, scope: str | None = None
    ) -> M:
        """A copy of a network for inference on a CPU that stores and multiplies kept weights only.

        It is shrunk first. A layer in which that is not faster stays dense.

        Args:
            model: a network in which the ticket's pruned weights are zero; it is left alone.
            dtype: the type of the kept weights: `float32`, with the same outputs within rounding;
                `bfloat16`; or `int8`, with a scale for each output.
            tokens: tokens of a usual call, texts x length, for which the faster way is chosen.
            scope: the scope, as in `hold`.

        Returns: the network in evaluation mode, without gradients.
        Raises: TicketError, if `model` is not a network of float32 on a CPU, has adapters, or a
            pruned weight is not zero; SpecError, for another dtype, or no tokens.
        """
        mask = self.mask_for(scope)
        return cast(M, FASTER["compile"](model, mask, dtype=dtype, tokens=tokens))

    def mask_for(self, scope: str | None = None) -> Mask:
        """The mask of a scope that the ticket covers; by default all of it.

        Raises: TicketError, for a scope that it doesn't cover.
        """
        if scope in (None, self.scope):
            return self.mask
        if (scope, self.scope) == ("encoder", "encoder+pooler"):
            return Mask({n: kept for n, kept in self.mask.items() if not n.startswith("pooler.")})
        raise TicketError(
            f"expected a scope that the ticket covers, got {scope!r} for a ticket of "
            f"{self.scope!r}. Leave the scope out."
        )

    def save(self, path: StrPath) -> Path:
        """Write the ticket as a folder, completely or not at all; an older ticket is replaced.

        Raises: OutputError, if the folder holds anything else or can't be written.
        """
        files = ticket_files(self.to_json(), self.mask)
        return write_folder(path_text(path, "the folder of a ticket"), files, replaces=NAMES)

    @classmethod
    def load(cls, path: StrPath, *, limit: int = WEIGHT_LIMIT) -> "Ticket":
        """Read a ticket; every size is checked before anything of that size is allocated.

        Args:
            path: the path of its folder; or what `find` returned for one seed.
            limit: the most weights that its mask may have, which takes a byte for each: for a
                ticket that is not trusted `model.num_parameters()` of the network that it is for.

        Raises: TicketError, if it is missing, damaged, or of a newer format.
        """
        folder = Path(path_text(path, "the folder of a ticket"))
        check_is_ticket(folder)
        document, mask = read_ticket(folder, limit)
        try:
            return cls._of(document, mask)
        except SpecError as error:
            raise TicketError(f"{error} It is damaged: fetch the ticket again.") from None

    @classmethod
    def _of(cls, document: Document, mask: Mask) -> "Ticket":
        return cls(
            mask=mask,
            model=document.model,
            fingerprint=document.fingerprint,
            scope=document.scope,
            sparsity=exact_fraction(document.sparsity),
            schedule=document.schedule,
            step=None if document.step is None else exact_fraction(document.step),
            task=document.task,
            seed=document.seed,
            scores=document.scores,
            versions=document.versions,
            created_by=document.created_by,
            provenance=document.provenance,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: StrPath,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: StrPath | None = None,
    ) -> "Ticket":
        """Load a ticket from a folder, from the Hugging Face hub, or from a URL that fsspec reads.

        Args:
            name_or_path: a folder, `OWNER/NAME` on the hub, or a URL such as `s3://bucket/ticket`.
            revision: branch, tag or commit on the hub; by default `main`.
            token: a token for the hub; by default that of `hf auth login` or HF_TOKEN.
            cache_dir: where the hub's files are cached; by default its own cache.

        Raises: TicketError, if there is no ticket, or it did not arrive as it was sent.
        """
        place = path_text(name_or_path, "a folder, or the name of a ticket")
        found: Ticket = HUB["fetch"](place, revision=revision, token=token, cache_dir=cache_dir)
        return found

    @naming_keywords()
    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        revision: str | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload the ticket and its card to the Hugging Face hub.

        Args:
            repo_id: `OWNER/NAME`; the repository is created if there is none.
            private: whether only its owner sees it. A repository that is public already is refused
                unless this is False.
            revision: branch to commit to, created if there is none; by default `main`.
            token: a token as in `from_pretrained`; it must be allowed to write.
            commit_message: the commit message; by default "Upload ticket".

        Returns: the address of the commit.
        Raises: TicketError, if the hub refuses, or holds something else afterwards.
        """
        address: str = HUB["push"](
            self,
            f"hf://{path_text(repo_id, 'OWNER/NAME on the hub').removeprefix('hf://')}",
            private=private,
            revision=revision,
            token=token,
            commit_message=commit_message,
        )
        return address

    def to_json(self) -> dict[str, Any]:
        """What ticket.json holds, its checksums apart."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "scope": self.scope,
            "sparsity": format(self.sparsity, "f"),
            "size": self.mask.size,
            "dead": self.mask.pruned,
            "digest": self.mask.digest(),
            "schedule": self.schedule,
            "step": None if self.step is None else format(self.step, "f"),
            "task": self.task,
            "seed": self.seed,
            "scores": self.scores,
            "created_by": self.created_by,
            "versions": self.versions,
            "provenance": self.provenance,
            "shapes": {name: list(shape) for name, shape in self.mask.shapes.items()},
        }


def check_ticket_folder(path: StrPath) -> None:
    """Refuse a folder that `Ticket.save` could not write, before there is a ticket.

    Raises: OutputError, if the folder holds anything but a ticket or can't be written.
    """
    folder = path_text(path, "the folder of a ticket")
    check_folder(folder, replaces=NAMES, needed=(JSON_NAME, MASK_NAME))
