"""Jobs that wait together are answered together, each with its own."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmsa_lightning
from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.serve.answers import Answers
from mmsa_lightning.inference.serve.batching import Batcher, Full, Job
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.serve.metrics import Metrics


def job(*texts: str, **asked: bool) -> Job:
    return Job([Utterance(f"utterance {i + 1}", text) for i, text in enumerate(texts)], **asked)


def test_what_waits_is_collected_up_to_a_batch() -> None:
    seen: list[list[int]] = []

    def compute(jobs: Sequence[Job]) -> None:
        seen.append([len(job.utterances) for job in jobs])
        for job in jobs:
            job.answer.set_result(None)

    batcher = Batcher(compute, Limits(batch=4, queue=20, collect_s=0), Metrics())
    jobs = [job(*"a" * n) for n in (2, 1, 2, 9, 1)]
    for one in jobs:
        batcher.put(one)
    with pytest.raises(Full):
        batcher.put(job(*"a" * 6))
    given_up = job("a")
    batcher.put(given_up)
    assert given_up.answer.cancel()
    batcher.start()
    batcher.close()  # which waits for all of them
    assert seen == [[2, 1], [2], [9], [1]]
    assert all(one.answer.done() for one in jobs)


def test_it_waits_for_others_but_not_for_long() -> None:
    taken = threading.Event()
    sizes: list[int] = []

    def compute(jobs: Sequence[Job]) -> None:
        sizes.append(len(jobs))
        for one in jobs:
            one.answer.set_result(None)
        taken.set()

    batcher = Batcher(compute, Limits(batch=2, collect_s=600), Metrics())
    batcher.start()
    batcher.put(job("a"))
    assert not taken.wait(0.2)
    batcher.put(job("b"))  # which makes it full
    assert taken.wait(60) and sizes == [2]
    batcher.close()


def test_each_gets_its_own_and_an_error_touches_no_other(ensemble: Path) -> None:
    predictor = mmsa_lightning.load(ensemble)
    jobs = [job("so good", "a plot"), job(" "), job("fine work", attention=True), job("dreadful"), job("so good")]
    answers: Any = Answers(predictor)
    answers(jobs)
    with pytest.raises(UserError, match="utterance 1 has none of"):
        jobs[1].answer.result()
    for i in (0, 2, 3, 4):
        answer = jobs[i].answer.result()
        texts = [utterance.text for utterance in jobs[i].utterances]
        with warnings.catch_warnings(action="ignore"):
            expected = predictor.predict(texts)
        np.testing.assert_allclose([p.sentiment for p in answer.predictions], expected.sentiment, rtol=0, atol=1e-5)
        assert all((p.attention is not None) == jobs[i].attention for p in answer.predictions)
        assert [note.utterances for note in answer.notes] == [len(texts)] * 2


def test_what_breaks_a_batch_breaks_its_own_job_alone(texts_alone: Path) -> None:
    predictor = mmsa_lightning.load(texts_alone)
    run = predictor.run

    def breaking(inputs: Any, **options: Any) -> Any:
        if ["poison"] in inputs.words:
            raise RuntimeError("no memory")
        return run(inputs, **options)

    predictor.run = breaking  # type: ignore[method-assign]
    jobs = [job("so good"), job("poison"), job("a plot")]
    Answers(predictor)(jobs)
    assert isinstance(jobs[1].answer.exception(), RuntimeError)
    assert [len(jobs[i].answer.result().predictions) for i in (0, 2)] == [1, 1]
