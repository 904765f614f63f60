"""``mmsa check model=NAME``: all of :mod:`mmsa_lightning.experiment.checks` on one model, a line each."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.override_parser.types import Quote, QuotedString

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.candidate import FORMS, Candidate, tiny_bert
from mmsa_lightning.experiment.checks import IN_EITHER_FORM, IN_ITS_OWN_FORM, reason
from mmsa_lightning.experiment.config import check, plain, refuse_shadowed
from mmsa_lightning.experiment.overrides import composing
from mmsa_lightning.models.layers import adaptation
from mmsa_lightning.training import optim
from mmsa_lightning.training.trainer import quieten


@dataclass(frozen=True)
class Outcome:
    """Of one check.

    Attributes:
        name: what was asked.
        reason: what was wrong; empty where nothing was.
        refused: whether the model does not read what it would be asked about, and said so.
    """

    name: str
    reason: str = ""
    refused: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.reason) and not self.refused

    def __str__(self) -> str:
        status = "FAIL" if self.failed else "skip" if self.refused else "ok"
        return f"{status:4} {self.name}" + (f": {self.reason}" if self.reason else "")


def check_model(overrides: Sequence[str], plugins: Path | None, *, tracebacks: bool = False) -> Iterator[Outcome]:
    """Check the model that ``mmsa train`` with these arguments would train, on the CPU, without data or network.

    Args:
        overrides: Hydra's; the text encoder is a small random BERT that trains whole, whatever they say.
        plugins: the user's own folder, as ``--config-dir`` names it.
        tracebacks: print those of the errors of what fails.

    Yields:
        the outcome of each check, as soon as it is known.

    Raises:
        UserError: the arguments are wrong, or the model is not built at all.
    """
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        encoder = tiny_bert(Path(folder, "bert"))
        config = composed([*overrides, f"text_encoder={_quoted(encoder)}"], plugins)
        yield from _outcomes(Candidate(config, Path(folder), plugins), tracebacks)


def composed(overrides: Sequence[str], plugins: Path | None = None) -> dict[str, Any]:
    """The checked plain config of a training command; arguments and errors as :func:`check_model`'s."""
    chosen = list(overrides)
    if plugins is not None:
        if not plugins.is_dir():
            raise UserError(f"Additional config directory '{plugins}' not found")  # as Hydra's own command line says
        refuse_shadowed(plugins)
        chosen.append(f"hydra.searchpath=[{_quoted(f'file://{plugins.absolute()}')}]")
    with composing(chosen):
        config = plain(compose("train", chosen))
    check(config)
    try:
        adaptation.check(config["encoder"])
        optim.check(config["optim"])
    except ValueError as error:
        raise UserError(str(error)) from error
    return config


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.double).with_quotes()


def _outcomes(candidate: Candidate, tracebacks: bool) -> Iterator[Outcome]:
    own = candidate.config["text"]
    if own not in FORMS:
        raise UserError(f"text={own}: choose one of {list(FORMS)}")
    forms = FORMS if "text" in candidate.modalities else (own,)
    name = "is built with text={}" if len(forms) > 1 else "is built"
    built = {form: _ask(name.format(form), candidate.made, [form], tracebacks) for form in forms}
    if all(outcome.refused for outcome in built.values()):
        raise UserError(built[own].reason)
    yield from built.values()
    read = [form for form in forms if not built[form].reason]
    for question in (*IN_EITHER_FORM, *IN_ITS_OWN_FORM) if read else ():
        asked = [own] if question in IN_ITS_OWN_FORM and own in read else read
        name = question.__name__.replace("_", " ")
        yield replace(_ask(name, partial(question, candidate), asked, tracebacks), refused=False)


def _ask(name: str, question: Callable[[str], object], forms: Sequence[str], tracebacks: bool) -> Outcome:
    """Of each form of text, until one fails."""
    for form in forms:
        try:
            question(form)
        except Exception as error:  # a stranger's model may raise anything
            if tracebacks:
                traceback.print_exc()
            form = f"text={form}: " if len(forms) > 1 else ""
            return Outcome(name, f"{form}{reason(error)}", refused=isinstance(error, UserError))
    return Outcome(name)
