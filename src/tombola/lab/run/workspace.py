"""What a worker keeps loaded between jobs: a network with a task's head, and the task's data."""

from dataclasses import dataclass, field, replace
from typing import Any

from tombola.base.errors import DataError, ModelError
from tombola.base.specs import TrainSpec
from tombola.lab.run.payload import Payload
from tombola.lab.store.artifacts import read_mask, trained_weights
from tombola.lab.store.result_store import Store
from tombola.models.network import Network
from tombola.plan.identity import NetworkIdentity
from tombola.plan.job_spec import JobSpec, PruneJobSpec, ScoreJobSpec, TrainJobSpec
from tombola.tasks.baselines import trivial_score
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import data_fingerprint, read_facts, read_split
from tombola.tasks.distillation import Teacher
from tombola.tasks.examples import Examples
from tombola.tasks.input_checks import count_inputs, count_shared, refuse_unreadable
from tombola.tasks.input_counts import InputCounts
from tombola.tasks.networks import load_network
from tombola.tasks.task import Task, on_hub
from tombola.ticket.mask import Mask
from tombola.ticket.scope import whole_model_size

__all__ = ["Workspace", "WorkspaceCache", "mask_of", "teacher_of"]


@dataclass
class Workspace:
    """A network, a task, and the splits of its data that have been needed so far."""

    network: Network
    task: Task
    place: str | None
    """Where the data are, if not where the task has them."""
    _data: str | None = None
    _encoded: dict[tuple[Any, ...], Examples] = field(default_factory=dict)
    _trivial: dict[tuple[Any, ...], float] = field(default_factory=dict)
    _counts: dict[tuple[Any, ...], dict[str, InputCounts]] = field(default_factory=dict)

    @classmethod
    def open(cls, payload: Payload) -> "Workspace":
        """Load the network of a payload.

        Raises: ModelError, if it can't be loaded.
        """
        task = Task.from_json(payload.task)
        network = load_network(payload.model, task.kind, len(task.labels), head=payload.head)
        network.scope(payload.scope)
        return cls(network, task, payload.folder)

    def check(self, spec: JobSpec) -> None:
        """Refuse a network or data that have changed since a job was planned.

        Raises: ModelError, DataError.
        """
        match spec:
            case TrainJobSpec():
                self._check_network(spec.network)
                self._check_data(spec.data)
            case ScoreJobSpec():
                self._check_split(spec.split, spec.rows)
            case PruneJobSpec(network=NetworkIdentity() as network):
                self._check_network(network)
                if spec.data:
                    self._check_data(spec.data.data)

    def _check_network(self, identity: NetworkIdentity) -> None:
        for wanted, found in (
            (identity.model, self.network.fingerprint),
            (identity.config_digest, self.network.config_digest),
        ):
            if wanted not in ("", found):
                raise ModelError(
                    f"expected the network {wanted[:12]} in {self.network.name!r}, got "
                    f"{found[:12]}: it has changed. Run the same command again."
                )

    def _check_data(self, fingerprint: str) -> None:
        if self.place is None or on_hub(self.place):
            return
        if self._data is None:
            self._data = read_facts(self.task, self.place).fingerprint
        if fingerprint != self._data:
            raise DataError(
                f"expected the data {fingerprint[:12]} in {self.place!r}, got "
                f"{self._data[:12]}: they have changed. Run the same command again."
            )

    def _check_split(self, split: str, fingerprint: str) -> None:
        if self.place is None or on_hub(self.place):
            return
        found = data_fingerprint(read_split(self.task, split, self.place))
        if fingerprint != found:
            raise DataError(
                f"expected the {split} split {fingerprint[:12]} in {self.place!r}, "
                f"got {found[:12]}: it has changed. Run the same command again."
            )

    def training(self, recipe: TrainSpec) -> Examples:
        """Tokenised examples of the training split."""
        return self._examples(self.task, "train", recipe, 0)

    def test(self, recipe: TrainSpec) -> Examples:
        """Tokenised examples of the split that is scored."""
        return self._examples(self.task, self.task.test_split, recipe, recipe.test_limit)

    def split(self, name: str, recipe: TrainSpec) -> Examples:
        """Tokenised examples of another split, limited as those of the split that is scored."""
        return self._examples(self.task, name, recipe, recipe.test_limit)

    def also_scored(self, recipe: TrainSpec) -> dict[str, Examples]:
        """Name -> tokenised examples of the rows that are scored in addition."""
        return {
            name: self._examples(task, task.test_split, recipe, recipe.test_limit)
            for name, task in self.task.also_scored().items()
        }

    def _examples(self, task: Task, split: str, recipe: TrainSpec, limit: int) -> Examples:
        cut = recipe.max_length, recipe.stride, recipe.query_length, recipe.blocks
        name = (task.divided, split, limit, *cut)
        if name not in self._encoded:
            rows = read_split(task, split, self.place)
            encoded = encode_split(rows, task, self.network.tokenizer, recipe, limit=limit)
            self.network.check_length(int(max(encoded.lengths)))
            self._encoded[name] = encoded
        return self._encoded[name]

    def counts(self, recipe: TrainSpec) -> dict[str, InputCounts]:
        """Split -> counts of its inputs, for the training split and the one that is scored.

        Raises: DataError, if there is nothing to learn from, or too little to score.
        """
        name = (
            recipe.max_length,
            recipe.stride,
            recipe.query_length,
            recipe.blocks,
            recipe.test_limit,
        )
        if name not in self._counts:
            training, test = self.training(recipe), self.test(recipe)
            _refuse_one(test, self.task)
            found = {
                "train": self._counted("train", training),
                self.task.test_split: self._counted(self.task.test_split, test),
            }
            shared = count_shared(training, test, self.task)
            self._counts[name] = found | {"train": replace(found["train"], shared=shared)}
        return self._counts[name]

    def _counted(self, split: str, examples: Examples) -> InputCounts:
        tokenizer, task = self.network.tokenizer, self.task
        counts = count_inputs(examples, task, tokenizer)
        refuse_unreadable(
            counts, examples, task, split, model=self.network.name, tokenizer=tokenizer
        )
        return counts

    def trivial(self, recipe: TrainSpec) -> float:
        """The best score of a trivial baseline, in points."""
        name = (recipe.max_length, recipe.test_limit, recipe.blocks)
        if name not in self._trivial:
            self._trivial[name] = trivial_score(self.network, self.task, self.test(recipe))
        return self._trivial[name]

    @property
    def backbone_size(self) -> int:
        """Number of weights of the whole backbone, embeddings included."""
        return whole_model_size(self.network.model)

    def full(self, scope: str) -> Mask:
        """The mask of the dense network."""
        return Mask.full(self.network.scope(scope))


def _refuse_one(test: Examples, task: Task) -> None:
    """Refuse to score a network on fewer than two examples.

    Raises: DataError.
    """
    scored = len(test) if test.blocks else len(test.rows)
    if scored < 2:
        what = "block of tokens" if test.blocks else "row"
        raise DataError(
            f"a score for task {task.name!r} needs two examples or more, got {scored} {what} in "
            f"the {task.test_split} split. Add rows to it, or use another --eval-split."
        )


def mask_of(payload: Payload, store: Store, workspace: Workspace, role: str = "mask") -> Mask:
    """The mask that a network is trained under, or with the role base a search starts from;
    without one, that of the whole network."""
    if role in payload.parents:
        return read_mask(store, payload.parents[role])
    return workspace.full(payload.scope)


def teacher_of(
    payload: Payload, store: Store, workspace: Workspace, recipe: TrainSpec
) -> Teacher | None:
    """The network that another one learns from, if the recipe has it learn from one.

    Raises: OutputError, if the store has no such weights; ModelError, if they are of another head.
    """
    if not recipe.distill:
        return None
    weights = trained_weights(store, payload.parents["teacher"])
    return Teacher.of(workspace.network, workspace.task, weights, recipe)


KEPT_BYTES = 1 << 30
"""Memory of the networks that a process keeps, unless one alone takes more."""


class WorkspaceCache:
    """Keeps the workspaces that a process has used last, as long as their networks are small."""

    def __init__(self) -> None:
        self._open: dict[tuple[str | None, ...], Workspace] = {}

    def of(self, payload: Payload) -> Workspace:
        """The workspace for a payload; loaded if it is not kept."""
        name = (payload.model, payload.task, payload.folder, payload.head)
        workspace = self._open.pop(name, None)
        if workspace is None:
            self._make_room()
            workspace = Workspace.open(payload)
        self._open[name] = workspace
        return workspace

    def clear(self) -> bool:
        """Drop them all.

        Returns: whether there were more than the one used last.
        """
        several = len(self._open) > 1
        self._open.clear()
        return several

    def _make_room(self) -> None:
        """Drop those used longest ago, so that one more of the largest size has room."""
        sizes = {name: _network_bytes(kept) for name, kept in self._open.items()}
        while sizes and sum(sizes.values()) + max(sizes.values()) > KEPT_BYTES:
            oldest = next(iter(sizes))
            del sizes[oldest], self._open[oldest]


def _network_bytes(workspace: Workspace) -> int:
    """Bytes of a network's weights and of their pre-trained values."""
    return 2 * sum(tensor.nbytes for tensor in workspace.network.pretrained.values())
