"""What ``result.json`` has of any run, whatever it is of."""

from typing import Any

MACHINE: dict[str, Any] = {
    **{"parameters": 1000, "seconds": 1.5, "device": "cpu", "versions": {"torch": "2"}},
}
