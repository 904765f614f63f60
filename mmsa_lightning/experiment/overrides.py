"""Hydra's command line: flags anywhere among the overrides, and what to say of an override that it cannot read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment.config import config_dir

PLAIN = re.compile(r"[\w/\-\\+.$%*@?|: \t]*", re.ASCII)  # what Hydra reads without quotes
QUOTES = ("'", '"')
GROUPS = ("data", "model", "+ablation", "ablation", "trainer", "logger", "tuned", "experiment")
_MERGING = re.compile(r"Error merging override (.*)")  # Hydra's words; the reason is in the error's cause
# What Hydra says of a setting that is not there, and its advice to add it all the same, which nothing would read.
_UNKNOWN = re.compile(r"Could not override '([\w.]+)'\.\nTo append to your config use \+\1=.*")


def arrange(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags and overrides, wherever the flags stand: Hydra would take an override after ``-m`` for an unknown argument.

    Args:
        words: the command line without the command.

    Returns:
        flags, each with its value in one word, and overrides, in their order.

    Raises:
        SystemExit: with code 2 and Hydra's usage, a flag is unknown or lacks its value.
    """
    # --info has a value or none, and would take the override after it for one.
    following = [*words, ""][1:]
    words = ["--info=all" if w in ("--info", "-i") and "=" in f else w for w, f in zip(words, following, strict=True)]
    given = vars(get_args_parser().parse_intermixed_args(words))
    overrides = given.pop("overrides")
    flags = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value not in (None, False)}
    return [flag if value is True else f"{flag}={value}" for flag, value in flags.items()], overrides


def check_groups(overrides: Sequence[str]) -> None:
    """Check that what is chosen of a group of settings is a name, or names of a sweep.

    Hydra ends with a traceback at others, merges the files of a list into one run, and takes ``misa.yaml`` for another
    name than ``misa``, one that no tuned settings go with.

    Raises:
        UserError: it is another.
    """
    for word in overrides:
        name, equals, value = word.partition("=")
        if not equals or name.partition("@")[0] not in GROUPS:
            continue
        wrong = (value.startswith("[") and name != "experiment") or re.search(r"\.ya?ml\b|(^|,)[./]", value)
        if wrong or value.lower() in ("", "null", "true", "false") or re.fullmatch(r"[-+\d.]+", value):
            group = name.lstrip("+")
            raise UserError(
                f"{word}: give one name of conf/{group}, without .yaml; a sweep over several has commas and no brackets"
            )


@contextmanager
def composing(overrides: Sequence[str]) -> Iterator[None]:
    """Where Hydra's ``compose`` reads our configs, and what it refuses is one line.

    Raises:
        UserError: as :func:`check_groups`; whatever Hydra and OmegaConf say of an override.
    """
    check_groups(overrides)
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise UserError(explain(error)) from error


def explain(error: Exception) -> str:
    """What Hydra says, with the override and, where quotes would make it one, the override as a shell wants it.

    What a resolver of ours says is not wrapped in OmegaConf's words.
    """
    within = error.__cause__ or error.__context__
    while within is not None:
        if isinstance(within, UserError):
            return str(within)
        within = within.__cause__ or within.__context__
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name}, line {mark.line + 1}: not YAML ({error.problem})"
    while not str(error).strip() and isinstance(error.__context__, Exception):
        error = error.__context__  # Hydra says nothing of what OmegaConf cannot read
    if (merging := _MERGING.fullmatch(str(error))) and isinstance(error.__cause__, OmegaConfBaseException):
        return f"{merging[1]}: {str(error.__cause__).splitlines()[0]}"
    if not isinstance(error, OverrideParseException):
        return _UNKNOWN.sub(r"\1: there is no such setting; --cfg job lists those that there are", str(error))
    override, reason = error.override, str(error)
    _, equals, value = override.partition("=")
    if not equals and not override.startswith("~"):
        return f"{override} is not an override: write name=value"
    if not reason.startswith("LexerNoViableAlt"):
        hint = f"; as text: {quoted}" if (quoted := _quoted(override)) else ""
        return f"{override}: {reason}{hint}"
    if value[:1] in QUOTES:
        return f"{override}: close the quotes, and put them around the whole value"
    hint = f": {quoted}" if (quoted := _quoted(override)) else ""
    return f"{override}: names have only the letters a to z, values with other letters or signs need quotes{hint}"


def _quoted(override: str) -> str | None:
    """``override`` with quotes around what wants them, quoted for the shell; None where they do not help."""
    key, _, value = override.partition("=")
    if value[:1] in QUOTES or any(value.count(a) != value.count(b) for a, b in ("[]", "{}")):
        return None
    parts = re.split(r"(\s*[,\[\]{}]\s*|:\s+)", value)  # every other one is such a sign
    for i in range(0, len(parts), 2):
        if parts[i].count("(") != parts[i].count(")"):
            return None
        parts[i] = str(Path(parts[i]).expanduser()) if parts[i].startswith("~/") else parts[i]
        if not PLAIN.fullmatch(parts[i]):
            parts[i] = QuotedString(parts[i], Quote.double).with_quotes()
    candidate = f"{key}={''.join(parts)}"
    try:
        OverridesParser.create().parse_override(candidate)
    except HydraException:
        return None
    return shlex.quote(candidate)
