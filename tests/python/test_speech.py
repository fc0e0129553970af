"""Speech to text against the reference implementations on the same weights and recordings: OpenAI's (windows, beams,
word times, languages), transformers' (greedy tokens) and silero-vad's own network."""
import json
import os
import pathlib
import re
import subprocess

import numpy as np
import pytest
import soundfile
import torch

import packages
import plait
from conftest import FILES
from speech_reference import clips, openai_model, silero_reference, transformers_tokens, word_errors

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"
RATE = 16000
GREEDY = dict(temperature=0.0, fp16=False)
AS_OPENAI = dict(temperatures=[0.0], padding="zeros")


@pytest.fixture(scope="module", autouse=True)
def threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny():
    return plait.SpeechRecognizer.from_pretrained("whisper-tiny.en")


@pytest.fixture(scope="module")
def base():
    return plait.SpeechRecognizer.from_pretrained("whisper-base")


@pytest.fixture(scope="module")
def recordings():
    return clips()


@pytest.fixture(scope="module")
def talk(recordings):
    """Six sentences with pauses between them, 41 s."""
    pause = np.zeros(RATE * 2, np.float32)
    sentences = [samples for _, samples, _ in recordings[:5]] + [recordings[9][1], recordings[0][1]]
    return np.concatenate([part for samples in sentences for part in (samples, pause)])


def same_segments(ours, theirs, words=False):
    assert [s["text"] for s in ours] == [s["text"] for s in theirs]
    for a, b in zip(ours, theirs):
        assert a["start"] == pytest.approx(b["start"], abs=0.021) and a["end"] == pytest.approx(b["end"], abs=0.021)
        assert a["avg_logprob"] == pytest.approx(b["avg_logprob"], abs=2e-3)
        assert a["no_speech_prob"] == pytest.approx(b["no_speech_prob"], abs=2e-3)
        assert a["compression_ratio"] == pytest.approx(b["compression_ratio"], abs=1e-9)
        if words:
            assert [w["word"] for w in a["words"]] == [w["word"] for w in b["words"]]
            for v, w in zip(a["words"], b["words"]):
                assert v["start"] == pytest.approx(w["start"], abs=0.021) and v["end"] == pytest.approx(w["end"], abs=0.021)
                assert v["probability"] == pytest.approx(w["probability"], abs=5e-3)


def test_long_speech_equals_openai(tiny, talk):
    assert len(talk) > 35 * RATE
    seen = []
    ours = tiny.transcribe((talk, RATE), words=True, **AS_OPENAI, progress=lambda done, total: seen.append((done, total)))
    theirs = openai_model("whisper-tiny.en").transcribe(talk, word_timestamps=True, **GREEDY)
    same_segments(ours.segments, theirs["segments"], words=True)
    assert ours.text == theirs["text"] and ours.language == "en"
    assert seen[-1] == pytest.approx((len(talk) / RATE, len(talk) / RATE), abs=0.02) and len(seen) >= 2


def test_short_clips_equal_transformers(tiny, recordings):
    for name, samples, _ in recordings[1:4]:
        tokens = transformers_tokens("whisper-tiny.en", samples)
        text = plait._C.Tokenizer.from_file(str(packages.CACHE / "models/whisper-tiny.en/tokenizer.json")).decode(
            [t for t in tokens if t < 50256])
        assert tiny.transcribe((samples, RATE), temperatures=[0.0]).text == text, name


@pytest.mark.parametrize("options, reference", [
    (dict(beam_size=5), dict(beam_size=5)),
    (dict(initial_prompt="Mr. Dashwould, amyable"), dict(initial_prompt="Mr. Dashwould, amyable")),
    (dict(suppress_non_speech=False, suppress_blank=False), dict(suppress_tokens="", suppress_blank=False)),
    (dict(beam_size=3, patience=2.0, length_penalty=0.6), dict(beam_size=3, patience=2.0, length_penalty=0.6)),
], ids=["beams", "prompt", "nothing suppressed", "patience"])
def test_options_equal_openai(tiny, recordings, options, reference):
    samples = np.concatenate([recordings[0][1], recordings[3][1]])
    ours = tiny.transcribe((samples, RATE), **AS_OPENAI, **options)
    theirs = openai_model("whisper-tiny.en").transcribe(samples, **GREEDY, **reference)
    same_segments(ours.segments, theirs["segments"])


def test_repetition_and_doubt_lead_to_higher_temperatures(tiny, recordings):
    samples = recordings[0][1]
    # Thresholds that no text meets: every temperature is tried, the last one stays.
    heard = tiny.transcribe((samples, RATE), temperatures=[0.0, 0.2], logprob_threshold=0.0, no_speech_threshold=1.0, seed=1)
    assert {s["temperature"] for s in heard.segments} == {0.2}
    again = tiny.transcribe((samples, RATE), temperatures=[0.0, 0.2], logprob_threshold=0.0, no_speech_threshold=1.0, seed=1)
    assert heard == again, "the same seed gives the same samples"
    calm = tiny.transcribe((samples, RATE))
    assert {s["temperature"] for s in calm.segments} == {0.0}
    packed = tiny.transcribe((samples, RATE), temperatures=[0.0, 0.4], compression_ratio_threshold=0.5)
    assert {s["temperature"] for s in packed.segments} == {0.4}


def test_languages_are_detected_as_by_openai(base, recordings):
    import whisper

    model = openai_model("whisper-base")
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(recordings[0][1]), 80)
    _, probabilities = model.detect_language(mel)
    language, sure = base.detect_language((recordings[0][1], RATE))
    assert language == "en" == max(probabilities, key=probabilities.get)
    assert sure == pytest.approx(probabilities["en"], abs=1e-3)
    assert len(base.languages) == 99 and {"en", "zh", "de"} <= set(base.languages)


def test_silence_and_noise_give_no_text(tiny):
    assert tiny.transcribe((np.zeros(RATE * 3, np.float32), RATE), speech_only=True).text == ""
    assert tiny.transcribe((np.zeros(RATE * 3, np.float32), RATE), no_speech_threshold=0.0, logprob_threshold=0.0).text == ""


@pytest.mark.parametrize("audio, options, message", [
    (np.zeros(0, np.float32), {}, "samples"),
    (np.full(RATE, np.nan, np.float32), {}, "finite"),
    (np.zeros(RATE, np.float32), {"language": "fr"}, "en"),
    (np.zeros(RATE, np.float32), {"task": "sing"}, "translate"),
    (np.zeros(RATE, np.float32), {"colour": "red"}, "colour"),
    (np.zeros(RATE, np.float32), {"beam_size": 0}, "beam_size"),
    (np.zeros(RATE, np.float32), {"temperatures": []}, "temperatures"),
])
def test_bad_input_is_refused(tiny, audio, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.transcribe((audio, RATE), **options)


def test_other_folders_are_refused_or_read(tmp_path, recordings):
    with pytest.raises(ValueError, match="speech recogniser"):
        plait.SpeechRecognizer.from_pretrained("speaker-ge2e")
    # CTranslate2's own folder and transformers' give what ours gives.
    from speech_reference import package_folder, transformers_model

    samples = recordings[1][1]
    expected = plait.SpeechRecognizer.from_pretrained("whisper-tiny.en").transcribe((samples, RATE), words=True)
    plain = tmp_path / "ct2"
    plain.mkdir()
    for name in ("model.bin", "tokenizer.json"):
        (plain / name).symlink_to(package_folder("whisper-tiny.en") / name)
    assert plait.SpeechRecognizer.from_pretrained(plain).transcribe((samples, RATE)).text == expected.text
    model, _ = transformers_model("whisper-tiny.en")
    model.save_pretrained(tmp_path / "hf")
    (tmp_path / "hf/tokenizer.json").symlink_to(package_folder("whisper-tiny.en") / "tokenizer.json")
    heard = plait.SpeechRecognizer.from_pretrained(tmp_path / "hf").transcribe((samples, RATE), words=True)
    assert heard.text == expected.text and heard.segments[0]["words"] == expected.segments[0]["words"]


# ---- voice activity


def test_voice_activity_equals_silero(tiny, talk):
    expected = silero_reference(talk)
    detector = plait.AutoModel.from_pretrained("silero-vad")
    ours = detector([(talk, RATE)])["speech"][0]
    assert expected.max() > 0.9 and expected.min() < 0.1
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=0)
    segments = tiny.speech_segments((talk, RATE))
    published = plait._C.voice_segments(expected.double().tolist(), len(talk), {})
    assert np.allclose(np.array(segments) * RATE, published, atol=1)
    assert 7 <= len(segments) <= 16


def test_segments_equal_the_published_hysteresis():
    from safetensors.torch import load_file

    golden = load_file(pathlib.Path(__file__).parents[1] / "golden/speech/speech_segments.safetensors")
    settings = [dict(), dict(threshold=0.7, min_silence=0.3), dict(max_speech=4.0), dict(min_speech=0.6, pad=0.2),
                dict(threshold=0.3, exit_threshold=0.1, max_speech=2.0)]
    compared = 0
    for name, expected in golden.items():
        if name.startswith("outputs."):
            _, case, k = name.split(".")
            ours = plait._C.voice_segments(golden[f"inputs.{case}"].tolist(), 400 * 512 - 100, settings[int(k)])
            assert [list(pair) for pair in ours] == expected.tolist(), name
            compared += len(ours)
    assert compared > 200


def test_speech_only_leaves_out_silence(tiny, recordings):
    samples = np.concatenate([np.zeros(RATE * 12, np.float32), recordings[4][1], np.zeros(RATE * 10, np.float32)])
    heard = tiny.transcribe((samples, RATE), speech_only=True)
    assert "amiable himself" in heard.text
    assert 11 < heard.segments[0]["start"] < 13.5 and heard.segments[-1]["end"] < 16.5


# ---- streams


def test_a_stream_gives_partial_and_final_text(tiny, recordings):
    pause = np.zeros(int(RATE * 1.2), np.float32)
    said = " ".join(text for _, _, text in recordings[2:5:2])
    sound = np.concatenate([pause] + [part for _, samples, _ in recordings[2:5:2] for part in (samples, pause)])
    stream = tiny.stream(step=1.5)
    updates = []
    for at in range(0, len(sound), 4000):
        found = stream.accept(sound[at : at + 4000])
        updates += [(at + 4000, update) for update in found]
    updates += [(len(sound), update) for update in stream.finish()]
    assert stream.finish() == []
    final = "".join(update["text"] for _, update in updates)
    assert final == stream.text
    errors, words = word_errors(said, final)
    assert errors <= 0.15 * words, (said, final)
    # Words are there before their sentence ends, tentative ones before they are final, and final ones stay in order.
    assert any(update["tentative"] for _, update in updates)
    assert any(update["text"] and not update["ends_utterance"] for _, update in updates), "only whole utterances"
    assert sum(update["ends_utterance"] for _, update in updates) >= 2
    times = [(w["start"], w["end"]) for _, update in updates for w in update["words"]]
    assert times == sorted(times)
    assert all(update["end"] <= at / RATE + 0.05 for at, update in updates)
    with pytest.raises(ValueError, match="end"):
        stream.accept(sound[:100])


def test_silence_in_a_stream_gives_nothing(tiny):
    stream = tiny.stream()
    assert stream.accept(np.zeros(RATE * 5, np.float32)) == [] and stream.finish() == [] and stream.text == ""
    with pytest.raises(ValueError, match="finite"):
        tiny.stream().accept(np.full(RATE, np.inf, np.float32))


# ---- command line


def run(*arguments, code=0):
    done = subprocess.run([str(PLAIT), "transcribe", *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr + done.stdout


def test_the_command_line_writes_text_json_and_subtitles(tiny, recordings, tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, recordings[3][1], RATE)
    text = "he might have been made still more respectable than he was."
    assert text in run(path, "--model", "whisper-tiny.en")
    (told,) = json.loads(run(path, "--model", "whisper-tiny.en", "--words", "--json"))["files"]
    assert text in told["text"] and told["language"] == "en"
    heard = tiny.transcribe(path, words=True)
    assert told["text"] == heard.text and [s["words"][0]["word"] for s in told["segments"]] == [" Had"]
    assert told["segments"][0]["end"] == pytest.approx(heard.segments[0]["end"], abs=0.021)
    srt = run(path, "--model", "whisper-tiny.en", "--srt")
    assert re.match(r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\nHad he married", srt)
    assert run(path, "--model", "whisper-tiny.en", "--vtt").startswith("WEBVTT\n\n00:00:00.")
    assert "one of --json" in run(path, "--srt", "--vtt", code=2)
    assert "none.wav" in run(tmp_path / "none.wav", "--model", "whisper-tiny.en", code=1)


# ---- all recordings


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whisper-tiny.en", "whisper-base"])
def test_word_errors_are_the_references(name, recordings, request):
    recognizer = request.getfixturevalue("tiny" if name == "whisper-tiny.en" else "base")
    tokenizer = plait._C.Tokenizer.from_file(str(packages.CACHE / f"models/{name}/tokenizer.json"))
    end = 50256 if name == "whisper-tiny.en" else 50257
    ours = theirs = words = same = 0
    for clip, samples, said in recordings:
        heard = recognizer.transcribe((samples, RATE), language="en", temperatures=[0.0]).text
        reference = tokenizer.decode([t for t in transformers_tokens(name, samples) if t < end])
        same += heard == reference
        ours += word_errors(said, heard)[0]
        theirs += word_errors(said, reference)[0]
        words += word_errors(said, heard)[1]
    print(f"{name}: {ours} of {words} words wrong ({100 * ours / words:.1f} %), transformers {theirs} ({100 * theirs / words:.1f} %), "
          f"{same} of {len(recordings)} transcripts the same")
    assert same == len(recordings) and abs(ours - theirs) <= 0.005 * words


@pytest.mark.slow
def test_telephone_prompts_equal_openai(tiny):
    folder = packages.debian("asterisk-core-sounds-en-wav") / "usr/share/asterisk/sounds"
    files = sorted(folder.rglob("*.wav"), key=lambda path: (-path.stat().st_size, path.name))[:24]
    assert len(files) == 24
    model = openai_model("whisper-tiny.en")
    for path in files:
        samples, _ = plait.load_audio(path, 16000)
        ours = tiny.transcribe((samples, RATE), **AS_OPENAI)
        theirs = model.transcribe(samples.numpy(), **GREEDY)
        assert ours.text == theirs["text"], path.name
