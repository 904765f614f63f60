"""How fast a server of ``mmsa serve`` answers: requests of one utterance each, from clients that send at once.

python experiments/serving/load.py http://127.0.0.1:8000 --requests 2000 --clients 32
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np

TEXTS = [
    "I have to say the cast was terrific, and I loved every minute of it.",
    "The plot was dreadful.",
    "Well, it was an okay movie, nothing more, and I would not see it again in a cinema.",
    "Honestly the ending felt terribly boring, but the music was fine and I liked the opening scene.",
]


def load(url: str, requests: int, clients: int) -> tuple[list[float], list[str], float]:
    """Send requests.

    Args:
        url: of the server.
        requests: in all.
        clients: each with a connection of its own, which it keeps.

    Returns:
        the seconds that each request took, what went wrong, and the seconds of all together.
    """
    numbers, seconds, errors = iter(range(requests)), [], []
    lock = threading.Lock()

    def mine() -> Iterator[int]:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        for number in mine():
            text = f"{TEXTS[number % len(TEXTS)]} {number}"
            body = json.dumps({"utterances": [{"id": str(number), "text": text}]})
            begun = time.perf_counter()
            try:
                connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, ValueError, http.client.HTTPException) as error:
                errors.append(repr(error))
                connection.close()
                continue
            seconds.append(time.perf_counter() - begun)
            if response.status != 200 or [p["id"] for p in answer["predictions"]] != [str(number)]:
                errors.append(f"{response.status} {answer}")

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, errors, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    arguments = parser.parse_args()
    seconds, errors, total = load(arguments.url, arguments.requests, arguments.clients)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    print(f"{len(seconds)} answers in {total:.1f} s, {len(errors)} errors; p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    for error in errors[:5]:
        print(error)


if __name__ == "__main__":
    main()
