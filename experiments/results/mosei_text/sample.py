"""Cut the sample of CMU-MOSEI that this folder's tables are of from a table with its official train and valid folds.

python experiments/results/mosei_text/sample.py utterances.csv sample.csv

The test fold's text is not public in this form: half of the validation fold's videos stand in for it, all of their
utterances; the other half's are what is selected on. What is taken depends on ids alone, not on the table's order.
"""

from __future__ import annotations

import csv
import sys
from hashlib import sha256
from pathlib import Path

TRAIN, VALID = 600, 250


def main(source: str, out: str) -> None:
    with Path(source).open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: number(row["id"]))
    train = [row for row in rows if row["split"] == "train"][:TRAIN]
    fold = [row for row in rows if row["split"] == "valid"]
    test = [row | {"split": "test"} for row in fold if number(row["video_id"]) % 2]
    valid = [row for row in fold if not number(row["video_id"]) % 2][:VALID]
    with Path(out).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([*train, *valid, *test])


def number(name: str) -> int:
    return int(sha256(name.encode()).hexdigest(), 16)


if __name__ == "__main__":
    main(*sys.argv[1:])
