"""What names a network and a task's data in the JSON of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tombola.base.keys import changed_knobs
from tombola.base.specs import TrainSpec

__all__ = ["DataIdentity", "Json", "NetworkIdentity", "Stored"]

Json: TypeAlias = dict[str, Any]
Stored: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class NetworkIdentity:
    """What names a network in a result."""

    model: str
    """Fingerprint of the pre-trained backbone."""
    matrices: str = ""
    """Digest of the names in the scope that belong to no linear layer; empty without any."""
    config_digest: str = ""
    """Digest of what else decides results; empty where nothing does, or nothing depends on it."""

    @property
    def backbone(self) -> Json:
        """The JSON without the digest of the configuration."""
        named = {"model": self.model, "matrices": self.matrices}
        return {what: digest for what, digest in named.items() if digest}

    @property
    def configuration(self) -> Json:
        """The JSON of that digest."""
        return {"fittings": self.config_digest} if self.config_digest else {}

    def to_json(self) -> Json:
        """What stands for it in a job."""
        return {**self.backbone, **self.configuration}

    @classmethod
    def from_json(cls, stored: Stored) -> "NetworkIdentity":
        """What `to_json` wrote, among the other fields of a job."""
        return cls(
            model=stored["model"],
            matrices=stored.get("matrices", ""),
            config_digest=stored.get("fittings", ""),
        )


@dataclass(frozen=True, kw_only=True)
class DataIdentity:
    """What names the data that a finder looks at, and how they are read."""

    data: str
    """Fingerprint of the rows."""
    task: list[Any]
    """`Task.identity`."""
    recipe: TrainSpec
    """Its seeds included."""

    def to_json(self) -> Json:
        """The fields, as they stand in a store."""
        return {"data": self.data, "task": self.task, "train": changed_knobs(self.recipe)}

    @classmethod
    def from_json(cls, stored: Stored) -> "DataIdentity":
        """What `to_json` wrote, among the other fields of a job."""
        recipe = TrainSpec(**stored["train"])
        return cls(data=stored["data"], task=stored["task"], recipe=recipe)
