"""Writes the text of lineage.yaml: python evidence/build_brown.py.

The paragraphs of the task mlm that can't come from WordNet. A third of its texts are entries of
WordNet, which always have a colon and a space between the words and their definition; so every text
without these two is from Brown. What else has them goes as well, about a tenth of Brown's.
"""

import json
from pathlib import Path

import pyarrow.parquet as pq

from tombola.tasks.task import load_task

HERE = Path(__file__).parent
SEPARATOR = ": "


def main() -> None:
    """Write a file for each split."""
    (HERE / "brown").mkdir(exist_ok=True)
    for split in ("train", "dev", "test"):
        [file] = load_task("mlm").folder.glob(f"{split}-*.parquet")
        texts = pq.read_table(file)["text"].to_pylist()
        kept = [json.dumps({"text": text}) for text in texts if SEPARATOR not in text]
        (HERE / "brown" / f"{split}.jsonl").write_text("\n".join([*kept, ""]))
        print(f"{split}: {len(kept)} of {len(texts)}")


if __name__ == "__main__":
    main()
