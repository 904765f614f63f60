"""Alignment: on a made-up voice whose times are known, and on a recording whose words were found by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voice import RATE, say

from mmsa_lightning.errors import UserError
from mmsa_lightning.media import alignment, decode
from mmsa_lightning.media.alignment import align, times
from mmsa_lightning.media.words import Cue, Word, cue_of

pytest.importorskip("pocketsphinx")
CLIPS = Path(__file__).parents[2].parent / "shared" / "data" / "clips"

SPOKEN = (("oh", 0.5, 0.8), ("ah", 1.0, 1.35), ("e", 2.05, 2.3), ("ah", 2.4, 2.8))


def check(words: tuple[Word, ...], spoken: tuple[tuple[str, float, float], ...], within: float) -> None:
    found = np.array([[word.start, word.end] for word in words])
    np.testing.assert_allclose(found, [[start, end] for _, start, end in spoken], atol=within)


def test_words_are_found_where_they_are_said_and_stay_as_written() -> None:
    found = align("“OH”, Ah — e… ah!", say(*SPOKEN), start=10.0)
    assert [word.text for word in found.words] == ["“OH”,", "Ah", "—", "e…", "ah!"]
    assert (found.spread, found.guessed) == (0, ())
    dash = found.words[2]
    assert dash.start == dash.end == found.words[1].end
    check((*found.words[:2], *found.words[3:]), tuple((w, 10 + a, 10 + b) for w, a, b in SPOKEN), within=0.05)


def test_a_word_that_the_dictionary_lacks_does_not_lose_the_others() -> None:
    for _ in range(2):  # the decoder has learnt it
        found = align("oh ahh eeh ah", say(*SPOKEN))
        assert (found.spread, found.guessed) == (0, ("eeh",))
        check(found.words, SPOKEN, within=0.08)


def test_a_text_in_another_script_is_found_and_stays_as_written() -> None:
    found = align("Оа, о — ее… о!", say(*SPOKEN))  # OW, AA, IY, AA by their letters
    assert [word.text for word in found.words] == ["Оа,", "о", "—", "ее…", "о!"]
    assert (found.spread, found.guessed) == (0, ("Оа,", "о", "ее…", "о!"))
    check((*found.words[:2], *found.words[3:]), SPOKEN, within=0.08)


def test_a_last_word_that_the_sounds_end_cuts_is_found() -> None:
    found = align("oh ah e ah", say(*SPOKEN)[: round(2.45 * RATE)])
    assert found.spread == 0
    check(found.words, (*SPOKEN[:3], ("ah", 2.4, 2.45)), within=0.05)
    assert found.words[-1].end == 2.45


def test_a_last_word_that_is_not_found_does_not_lose_the_others() -> None:
    found = align("oh ah e — odin !", say(*SPOKEN)[: round(2.75 * RATE)])
    assert [word.text for word in found.words] == ["oh", "ah", "e", "—", "odin", "!"]
    assert found.spread == 2
    check(found.words[:3], SPOKEN[:3], within=0.05)
    last = found.words[4]
    assert (last.start, last.end) == (found.words[2].end, pytest.approx(2.75))
    assert align("odin", say(*SPOKEN)[: round(0.75 * RATE)]).spread == 1


@pytest.mark.parametrize("text", ["the quick brown fox jumps over the lazy dog and runs", "𒀀𒀁 𒀂"])
def test_a_text_that_is_not_said_is_shared_out_over_the_voice(text: str) -> None:
    found = align(text, say(*SPOKEN), start=1.0)
    assert found.spread == len(found.words) == len(text.split())
    assert [word.text for word in found.words] == text.split()
    assert found.words[0].start == pytest.approx(1.5, abs=0.1)
    assert found.words[-1].end == pytest.approx(3.8, abs=0.15)
    assert [word.start for word in found.words[1:]] == [word.end for word in found.words[:-1]]
    lengths = [(word.end - word.start) / len(word.text) for word in found.words]
    np.testing.assert_allclose(lengths, lengths[0])


@pytest.mark.parametrize("samples", [0, 1, 300])
def test_hardly_any_sound(samples: int) -> None:
    found = align("hello there", np.zeros(samples, np.float32))
    assert found.spread == 2
    assert (found.words[0].start, found.words[-1].end) == (0, pytest.approx(samples / RATE))
    assert align(" ", np.zeros(samples, np.float32)).words == ()


def test_a_sound_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "LONGEST", 3)
    with pytest.raises(UserError, match=r"takes 3 s .*pieces of at most 3 s"):
        align("oh ah e ah", say(*SPOKEN))
    with pytest.raises(ValueError, match="one channel"):
        align("oh", np.zeros((5, 2), np.float32))


def test_the_words_of_a_cue_are_found_within_it() -> None:
    known = cue_of((Word("Oh", 0.4, 0.9),))
    cues = [known, Cue("ah", 0.9, 1.5, None), Cue("eeh ah", 2.0, 3.0, None), Cue("你好", 3.0, 3.3, None)]
    found = times(cues, say(*SPOKEN))
    assert [word.text for word in found.words] == ["Oh", "ah", "eeh", "ah", "你好"]
    assert (found.spread, found.guessed) == (1, ("eeh", "你好"))
    check(found.words[:4], (("Oh", 0.4, 0.9), *SPOKEN[1:]), within=0.08)
    assert (found.words[4].start, found.words[4].end) == (3.0, 3.3)


def test_a_transcript_of_another_video_is_refused() -> None:
    with pytest.raises(UserError, match=r"'hello' at 9\.0 s, but the sound ends at 3\.3 s"):
        times([Cue("hello", 9.0, 10.0, None)], say(*SPOKEN))


def recording(name: str) -> np.ndarray:
    if not CLIPS.is_dir():
        pytest.skip(f"{CLIPS} is not there")
    sound = decode.sound(CLIPS / name, 0.0, None)
    assert sound is not None
    return sound


def test_a_recording_agrees_with_its_waveform() -> None:
    """Where closures, bursts and frication begin in bands of energy every 10 ms, as it was read by eye."""
    sound = recording("retalking_1.mp4")
    found = align("My biggest weakness is asking for help when needed. I'd like to do better at that.", sound)
    assert (found.spread, found.guessed) == (0, ())
    starts = {word.text: word.start for word in found.words}
    by_eye = {"biggest": 0.13, "weakness": 0.49, "is": 0.845, "asking": 1.21, "for": 1.535, "help": 1.66, "when": 1.9}
    by_eye |= {"I'd": 3.525, "to": 3.79, "do": 3.87, "better": 3.975}
    for word, start in by_eye.items():
        assert starts[word] == pytest.approx(start, abs=0.06), word
    assert found.words[8].end == pytest.approx(2.355, abs=0.06)  # a second of silence follows "needed."


def test_a_recording_in_russian_whose_last_word_is_cut_agrees_with_what_was_measured_by_hand() -> None:
    text = (
        "Всем привет, я снова рада вас видеть на своём канале, и мне безумно нравится то, что мы ведём этот прекрасный "
        "влог о моей жизни. Один"
    )
    found = align(text, recording("latentsync_demo1.mp4"))
    assert (len(found.words), found.spread) == (25, 0)
    starts = {word.text.rstrip(",."): word.start for word in found.words}
    by_hand = {"я": 0.975, "снова": 1.11, "рада": 1.475, "вас": 1.72, "видеть": 1.99, "на": 2.285, "своём": 2.365}
    by_hand |= {"канале": 2.725, "мне": 3.58, "безумно": 3.76, "нравится": 4.275, "то": 4.86, "что": 5.015, "мы": 5.24}
    by_hand |= {"ведём": 5.475, "этот": 5.955, "прекрасный": 6.24, "влог": 7.1, "моей": 8.12, "жизни": 8.595}
    wrong = [abs(starts[word] - start) for word, start in by_hand.items()]
    assert np.median(wrong) < 0.03
    assert max(wrong) < 0.16
