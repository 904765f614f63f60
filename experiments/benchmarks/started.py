"""``train.py``, which prints when each optimiser step and each run ends; without ``--multirun`` it ends at the first.

Nothing is imported sooner than the command would: what is timed is found when the program has imported it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

WAITING = [  # module, class, function, and what its end is
    ("torch.optim.adam", "Adam", "step", "step"),
    ("mmsa_lightning.memory", None, "let_go", "end"),  # of a job of a sweep
]


def look(event: str, _: Any) -> None:
    """An audit hook: at each import, see whether those before it have brought what is waited for."""
    if event == "import" and WAITING:
        WAITING[:] = [place for place in WAITING if not timed(*place)]


def timed(module: str, cls: str | None, name: str, what: str) -> bool:
    owner: Any = sys.modules.get(module)
    owner = getattr(owner, cls, None) if cls else owner
    function = getattr(owner, name, None)
    if function is None:
        return False

    def noted(*args: Any, **kwargs: Any) -> Any:
        returned = function(*args, **kwargs)
        spent = {"what": what, "cpu": time.process_time(), "wall": time.time() - float(os.environ["BENCH_START"])}
        print(f"\nstartup:{json.dumps(spent)}", flush=True)
        if what == "step" and "--multirun" not in sys.argv:
            os._exit(0)
        return returned

    setattr(owner, name, noted)
    return True


if __name__ == "__main__":
    sys.addaudithook(look)
    from mmsa_lightning.experiment.app import main

    main()
