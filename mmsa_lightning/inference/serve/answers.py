"""From requests to predictions, several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmsa_lightning.inference.inputs import Inputs, Utterance, join
from mmsa_lightning.inference.predictor import Predictor
from mmsa_lightning.inference.serve.batching import Job
from mmsa_lightning.inference.serve.schema import Answer, Note, Prediction
from mmsa_lightning.inference.serve.words import in_words, polarity


@dataclass
class _Read:
    """A job, and what the model reads of it."""

    job: Job
    inputs: Inputs


class Answers:
    """Answers jobs. One thread alone may call it.

    Args:
        predictor: with the model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __call__(self, jobs: Sequence[Job]) -> None:
        """Give each job an :class:`~mmsa_lightning.inference.serve.schema.Answer`, or the error that it met."""
        alike: dict[tuple[bool, bool], list[_Read]] = {}
        for job in jobs:
            try:
                read = _Read(job, self.predictor.reader.read(job.utterances))
            except Exception as error:  # a user's mistake, or a fault that only this job meets
                job.answer.set_exception(error)
            else:
                alike.setdefault((job.attention, job.contributions), []).append(read)
        for group in alike.values():
            self._answer(group)

    def _answer(self, group: Sequence[_Read]) -> None:
        try:
            answers = self._predict(group)
        except Exception as error:
            if len(group) == 1:
                group[0].job.answer.set_exception(error)
                return
            for one in group:  # of which one alone may have broken all
                self._answer([one])
            return
        for read, answer in zip(group, answers, strict=True):
            read.job.answer.set_result(answer)

    def _predict(self, group: Sequence[_Read]) -> list[Answer]:
        """Answers to jobs that ask for the same."""
        about, run = self.predictor.about, self.predictor.run
        inputs = join([read.inputs for read in group])
        found = run(inputs, attention=group[0].job.attention)
        without: dict[str, np.ndarray] = {}
        if group[0].job.contributions:
            without = {m: run(inputs, without=m).sentiment for m in about.modalities}
        if not all(np.isfinite(values).all() for values in (found.members, *without.values())):
            raise ArithmeticError("the model's prediction is not a number")
        utterances = [utterance for read in group for utterance in read.job.utterances]
        predictions = [
            Prediction(
                id=id,
                sentiment=sentiment,
                in_words=in_words(about, sentiment),
                polarity=polarity(about, sentiment),
                members=found.members[:, i].tolist(),
                attention=found.attention[i].words if found.attention else None,
                contributions={
                    m: sentiment - float(without[m][i]) if self._has(utterances[i], m) else None for m in without
                }
                if group[0].job.contributions
                else None,
            )
            for i, (id, sentiment) in enumerate(zip(found.ids, found.sentiment.tolist(), strict=True))
        ]
        answers, begin = [], 0
        for read in group:
            end = begin + len(read.inputs)
            notes = [Note(note=note, utterances=count) for note, count in read.inputs.notes.items()]
            answers.append(Answer(predictions=predictions[begin:end], notes=notes))
            begin = end
        return answers

    def _has(self, utterance: Utterance, modality: str) -> bool:
        if self.predictor.about.modalities[modality].width is None:
            return bool(utterance.text and utterance.text.strip())
        return modality in utterance.features
