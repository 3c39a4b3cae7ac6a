"""The small experiments that `compare_commits.py` runs, and the files that they read."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LAB = "--store store --workers 1 --threads 1"
TINY = f"--epochs 1 --train-limit 32 --test-limit 24 --batch-size 16 --max-length 24 {LAB}"
PLAN = "inputs/plan.yaml --store plan-store"


@dataclass(frozen=True)
class Experiment:
    """Commands of tombola that are run one after another."""

    name: str
    """Also the folder that they write into."""

    commands: tuple[str, ...]
    """Arguments of `python -m tombola`; `> FILE` at the end keeps standard output."""


def search(name: str, flags: str) -> Experiment:
    """One `tombola find`; its folder and its JSON are kept."""
    return Experiment(name, (f"find {flags} --output {name}/out --json {name}/find.json",))


CONTROLS = "random,layer-random,one-shot,reinit,shuffle,random-init,shuffle-layers,small-dense"
SHORT = f"{TINY} --sparsity 0.5 --step 0.5 --controls one-shot"

SEARCHES = (
    search("controls", f"--seeds 0,1 --sparsity 0.7 --step 0.35 --controls {CONTROLS} {TINY}"),
    search("geometric", f"{SHORT} --schedule geometric --step 0.3 --rewind-step 1 --keep-head"),
    search("long-horizon", f"{SHORT} --long-horizon --prune-first --step 0.25"),
    search("no-rewind", f"{TINY} --controls shuffle --no-rewind --rounds 0.3,0.5"),
    search("regression", f"--config inputs/find.yaml --train-limit 32 --test-limit 24 {LAB}"),
    search("pair", f"{SHORT} --task gloss-match --accumulation 2 --gradient-checkpointing"),
    search("span", f"{SHORT} --task gloss-span --max-length 64 --stride 16 --query-length 24"),
    search("mlm", f"{SHORT} --task mlm --blocks --eval-split dev"),
    search("tuned", f"{SHORT} --task supersense --learning-rate tune --seeds 0,1"),
    search(
        "own-csv",
        f"{SHORT} --task csv:inputs/rows.csv --text-columns title,text --label-column label"
        " --labels bad,good --drop-bad-rows",
    ),
    search("own-yaml", f"{SHORT} --task inputs/films.yaml --precision bf16"),
    search("own-model", f"{SHORT} --task mlm --model inputs/moved --head checkpoint --workers 2"),
)

TICKETS = (
    Experiment(
        "evaluate",
        tuple(
            f"evaluate {ticket} {flags} {LAB} --json evaluate/{number}.json"
            for number, (ticket, flags) in enumerate(
                (
                    ("controls/out/ticket-seed-0", "--init reinit --processes 2"),
                    ("controls/out/ticket-seed-1", f"--task valence --init shuffle {TINY}"),
                    ("own-csv/out/ticket-seed-0", "--init shuffle-layers --seeds 100,101"),
                )
            )
        ),
    ),
    Experiment(
        "import",
        (
            "import inputs/masks.pt --model mini --output import/masks",
            "import inputs/pruned --model mini --scope encoder --output import/pruned",
            "inspect import/masks --json import/masks.json",
            "inspect controls/out/ticket-seed-0 --json - > import/found.json",
        ),
    ),
    Experiment(
        "anatomy",
        (
            "overlap controls/out/ticket-seed-0 controls/out/ticket-seed-1 import/masks"
            " --heads 12 --json anatomy/overlap.json",
            "distance inputs/moved inputs/pruned --ticket import/masks --json anatomy/alive.json",
            "report controls/out --output anatomy/report.html",
        ),
    ),
    Experiment(
        "listings",
        (
            "tasks",
            "models",
            "store list --store store --json listings/list.json",
            "store verify --store store --json listings/verify.json",
        ),
    ),
)

STUDIES = (
    Experiment(
        "plan",
        (
            f"run {PLAN} --workers 1 --threads 1 --json plan/run.json",
            f"run {PLAN} --workers 1 --threads 1 --dry-run --json plan/left.json",
            f"status {PLAN}",
            f"matching {PLAN} --json plan/matching.json",
            f"transfer {PLAN} --json plan/transfer.json",
            f"claims {PLAN} --json plan/claims.json",
            f"table {PLAN} --output plan/rows.csv --json plan/rows.json",
            f"table {PLAN} --output plan/rows.parquet",
            f"table {PLAN} --together --output plan/together.csv",
            f"overlap {PLAN} --sparsity 0.35 --json plan/overlap.json",
            f"connectivity {PLAN} --output plan/lines --json plan/connectivity.json",
            f"report {PLAN} --output plan/report.html",
        ),
    ),
    Experiment(
        "recorded",
        (
            *(
                f"{verb} inputs/pilot.csv --json recorded/{verb}.json"
                for verb in ("matching", "transfer", "claims")
            ),
            "matching inputs/pilot-rates.csv --json recorded/rates.json",
            *(
                f"table inputs/pilot.csv --output recorded/rows.{ending}"
                for ending in ("csv", "parquet", "tex", "md")
            ),
            "table inputs/pilot.csv --together --output recorded/together.csv",
        ),
    ),
)

EXPERIMENTS = (*SEARCHES, *TICKETS, *STUDIES)
UNITS = ("inputs", *(experiment.name for experiment in EXPERIMENTS), "runs", "store", "plan-store")
"""The folders that are compared; `runs` is where tombola writes unless a command says where."""


def write_inputs(folder: Path, checkout: Path) -> None:
    """Write what the experiments read; the networks and recorded tables are the checkout's own."""
    shutil.copytree(HERE / "inputs", folder)
    for name in ("pilot", "pilot-rates"):
        (table,) = (checkout / "docs").rglob(f"{name}.csv")
        shutil.copy(table, folder)
    (folder / "rows.csv").write_text("\n".join(("title,text,label", *films(90), "none,,")))
    (folder / "films").mkdir()
    for split, rows in (("train", 60), ("dev", 20), ("test", 24)):
        text = "\n".join(("title,text,label", *films(rows, split)))
        (folder / "films" / f"{split}.csv").write_text(text)
    (config,) = (checkout / "src").rglob("mini/config.json")
    write_networks(folder, config.parent)


def films(rows: int, split: str = "all") -> Iterator[str]:
    """Rows of a CSV file: a title, a review that one word decides, and its class."""
    chance = random.Random(f"films of {split}")
    for number in range(rows):
        label = chance.choice(("good", "bad"))
        words = chance.choices("the a plot actor scene with long short and very music".split(), k=9)
        word = chance.choice({"good": ("lovely", "warm"), "bad": ("dull", "cold")}[label])
        yield f"Film {number} of {split},{' '.join((*words[:4], word, *words[4:]))},{label}"


def write_networks(folder: Path, embedded: Path) -> None:
    """Write the embedded network moved by noise, the same pruned, and the masks of the latter."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(embedded / "model.safetensors")
    chance = torch.Generator().manual_seed(0)
    moved, pruned, masks = {}, {}, {}
    for name, weight in weights.items():
        noise = torch.randn(weight.shape, generator=chance)
        moved[name] = (weight.float() + 0.01 * noise).to(weight.dtype)
        pruned[name] = weight
        if ".layer." in name and weight.dim() == 2:
            alive = weight.float().abs() > weight.float().abs().quantile(0.6, dim=1, keepdim=True)
            pruned[name], masks[f"{name}_mask"] = weight * alive, alive.float()
    for place, tensors in (("moved", moved), ("pruned", pruned)):
        shutil.copytree(embedded, folder / place)
        save_file(tensors, folder / place / "model.safetensors", metadata={"format": "pt"})
    torch.save(masks, folder / "masks.pt")
