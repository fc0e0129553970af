"""Text to speech: the Piper voice against onnxruntime with the same noise, VITS in transformers' layout against transformers,
the front end, streams, and the command line."""
import json
import pathlib
import shutil
import subprocess
import wave

import numpy as np
import pytest
import torch

import packages
import piper_reference
import plait

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"
SENTENCES = [
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "Four hours of steady work faced us, and rain fell all the while.",
    "Is the juice of lemons good in fine punch?",
]


@pytest.fixture(scope="module")
def voice():
    return plait.SpeechSynthesizer.from_pretrained("joe")


def run(*arguments, **options):
    return subprocess.run([PLAIT, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("number", range(len(SENTENCES)))
def test_the_voice_sounds_as_onnxruntime_with_the_same_noise(voice, number):
    (phonemes,) = voice.phonemes(SENTENCES[number])
    ids = voice._handle.symbols(phonemes)
    assert ids == piper_reference.ids_of(phonemes)
    random = np.random.default_rng(number)
    duration_noise = random.standard_normal((1, 2, len(ids))).astype(np.float32)
    noise = random.standard_normal((1, 192, 4000)).astype(np.float32)
    theirs, durations = piper_reference.speak(ids, duration_noise, noise)
    inputs = {"input_ids": torch.tensor([ids]), "duration_noise": torch.from_numpy(duration_noise), "noise": torch.from_numpy(noise)}
    ours = voice._handle.speak_symbols(inputs, {})[0].numpy()
    assert len(ours) == len(theirs) == int(durations.sum()) * 256 and len(ours) > voice.sample_rate
    correlation = np.corrcoef(ours, theirs)[0, 1]
    print(f"correlation {correlation:.6f}, largest difference {np.abs(ours - theirs).max():.2e}")
    assert correlation >= 0.999


def test_scales_of_speed_and_noise_equal_onnxruntimes(voice):
    (phonemes,) = voice.phonemes("Speak slowly, please.")
    ids = voice._handle.symbols(phonemes)
    random = np.random.default_rng(1)
    duration_noise = random.standard_normal((1, 2, len(ids))).astype(np.float32)
    noise = random.standard_normal((1, 192, 4000)).astype(np.float32)
    theirs, _ = piper_reference.speak(ids, duration_noise, noise, (0.3, 1.5, 0.5))
    inputs = {"input_ids": torch.tensor([ids]), "duration_noise": torch.from_numpy(duration_noise), "noise": torch.from_numpy(noise)}
    ours = voice._handle.speak_symbols(inputs, {"speed": 1 / 1.5, "noise": 0.3, "noise_duration": 0.5})[0].numpy()
    assert len(ours) == len(theirs) and np.corrcoef(ours, theirs)[0, 1] >= 0.999


def test_a_folder_of_pipers_own_files_speaks_too(voice, tmp_path):
    shutil.copy(piper_reference.folder() / "en_US-joe-medium.onnx", tmp_path)
    shutil.copy(piper_reference.folder() / "en_US-joe-medium.onnx.json", tmp_path)
    shutil.copy(packages.CACHE / "models/joe-en-us/lexicon.tsv", tmp_path)
    shutil.copy(packages.CACHE / "models/joe-en-us/letter_to_sound.safetensors", tmp_path)
    other = plait.SpeechSynthesizer.from_pretrained(tmp_path)
    assert torch.equal(other("Good morning.", seed=4).samples, voice("Good morning.", seed=4).samples)


def test_a_folder_of_transformers_speaks_letters(tmp_path):
    import transformers

    torch.manual_seed(0)
    config = transformers.VitsConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, ffn_dim=24, flow_size=8, upsample_initial_channel=16,
                                     upsample_rates=[4, 4], upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3],
                                     resblock_dilation_sizes=[[1, 3]], prior_encoder_num_flows=2, noise_scale=0.0, noise_scale_duration=0.0)
    model = transformers.VitsModel(config).eval()
    model.save_pretrained(tmp_path)
    vocab = {"_": 0, " ": 1, "'": 2, **{chr(97 + i): 3 + i for i in range(26)}}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_blank": True, "normalize": True, "phonemize": False, "is_uroman": False}))
    tokenizer = transformers.VitsTokenizer(str(tmp_path / "vocab.json"), phonemize=False, is_uroman=False)
    ids = tokenizer("Hello there").input_ids
    voice = plait.SpeechSynthesizer.from_pretrained(tmp_path)
    assert voice.phonemes("Hello there") == ["hello there"]
    assert voice._handle.symbols("hello there") == ids
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).waveform[0]
    ours = voice("Hello there", noise=0, noise_duration=0).samples
    assert voice.sample_rate == 16000
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_stream_gives_the_whole_sound_in_pieces(voice):
    text = " ".join(SENTENCES[:3])
    whole = voice(text, seed=3)
    pieces = list(voice.stream(text, seed=3, first_chunk=0.2, longest_chunk=0.5))
    assert len(pieces) > 10 and pieces[0].seconds < 0.4
    joined = torch.cat([piece.samples for piece in pieces])
    assert joined.shape == whole.samples.shape
    torch.testing.assert_close(joined, whole.samples, atol=2e-4, rtol=0)
    assert whole.samples.abs().max() <= 1 and whole.samples.std() > 0.01


def test_seed_speed_and_pause(voice):
    text = "One sentence. Another one."
    first = voice(text, seed=1)
    assert torch.equal(voice(text, seed=1).samples, first.samples)
    assert not torch.equal(voice(text, seed=2).samples[:1000], first.samples[:1000])
    calm = dict(noise_duration=0.0, pause=0.0)
    slow, fast = voice(text, speed=0.5, **calm).seconds, voice(text, speed=2.0, **calm).seconds
    assert 2.5 < slow / fast < 4.5  # every symbol lasts for a whole frame at least
    assert voice(text, noise_duration=0.0, pause=1.0).seconds - voice(text, **calm).seconds == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("text, sentences", [
    ("Hello, world.", ["həlˈoʊ, wˈɜːld."]),
    ("The end. An apple!", ["ðɪ ˈɛnd.", "ɐn ˈæpəl!"]),
    ("roses wanted", ["ɹˈoʊzᵻz wˈɑːntᵻd."]),
])
def test_phonemes(voice, text, sentences):
    assert voice.phonemes(text) == sentences


@pytest.mark.parametrize("written, spoken", [
    ("It costs $5.25.", "It costs five dollars and twenty five cents."),
    ("$3 million was paid.", "three million dollars was paid."),
    ("On 2024-03-01 at 3:45 pm.", "On March first, twenty twenty four at three forty five P M."),
    ("Dr. Smith lives at 10 Main St.", "doctor Smith lives at ten Main street."),
    ("The 21st of June, 1984", "The twenty first of June, nineteen eighty four"),
    ("1,234,567 people", "one million two hundred thirty four thousand five hundred sixty seven people"),
    ("It is 5 km long, or 3.1 miles.", "It is five kilometers long, or three point one miles."),
    ("About 50% of 1/2", "About fifty percent of one half"),
    ("At 9:05 a.m. it rang.", "At nine oh five A M it rang."),
    ("the 1990s", "the nineteen nineties"),
    ("-7 degrees & rain", "minus seven degrees and rain"),
    ("pages 10-20", "pages ten to twenty"),
])
def test_numbers_and_signs_are_read_as_words(voice, written, spoken):
    assert voice.phonemes(written) == voice.phonemes(spoken)


def test_espeak_is_a_front_end_where_it_is_installed(voice):
    other = plait.SpeechSynthesizer.from_pretrained("joe", front_end="espeak")
    assert other.phonemes("Hello, world. Good morning!") == ["həlˈoʊ, wˈɜːld.", "ɡˈʊd mˈɔːɹnɪŋ!"]


def test_agreement_with_espeak(voice):
    """Share of phonemes in which the lexicon's front end and espeak agree on the Harvard sentences above and harder ones."""
    other = plait.SpeechSynthesizer.from_pretrained("joe", front_end="espeak")
    texts = SENTENCES + ["She had your dark suit in greasy wash water all year.", "The committee reported a slight improvement yesterday.",
                         "Photography requires patience and considerable attention."]

    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
        return row[-1]

    wrong = total = 0
    for text in texts:
        ours, theirs = (" ".join(v.phonemes(text)).translate({ord(c): None for c in "ˈˌ "}) for v in (voice, other))
        wrong, total = wrong + distance(ours, theirs), total + len(theirs)
    print(f"agreement {1 - wrong / total:.3f} of {total} phonemes")
    assert 1 - wrong / total > 0.85


@pytest.mark.parametrize("text, options, message", [
    ("", {}, "word"), ("...", {}, "word"), ("你好", {}, "word"), ("Hello", {"speed": 0.0}, "speed"), ("Hello", {"speed": float("nan")}, "speed|finite"),
    ("Hello", {"colour": "red"}, "colour"), ("Hello", {"pause": -1.0}, "pause"),
])
def test_bad_input_is_refused(voice, text, options, message):
    with pytest.raises(ValueError, match=message):
        voice(text, **options)


def test_hostile_texts_are_survived(voice):
    for text in ["\x00\x01\xff", "\ud7ff" * 3 + "a", "1" * 500, "-" * 300, "$" * 50, "a" * 300, "'''", "1/0", "9" * 30 + "%", "A.B.C.", "x" * 70 + "ed"]:
        voice.phonemes(text)
    assert len(voice.phonemes("word " * 5000)) > 10
    with pytest.raises(plait.LimitError):
        voice.phonemes("a " * 600_000)


def test_broken_voices_are_refused(tmp_path):
    with pytest.raises((FileNotFoundError, ValueError, RuntimeError)):
        plait.SpeechSynthesizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="voice"):
        plait.SpeechSynthesizer.from_pretrained("minilm")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07")
    (tmp_path / "a.onnx.json").write_text("{}")
    with pytest.raises(plait.DataError, match="graph"):
        plait.SpeechSynthesizer.from_pretrained(tmp_path)
    import onnx

    graph = onnx.helper.make_graph([], "empty", [], [onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1])])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(plait.DataError, match="enc_p"):
        plait.SpeechSynthesizer.from_pretrained(tmp_path)


def test_command_line(tmp_path):
    out = tmp_path / "out.wav"
    done = run("speak", "Good morning. How are you?", "-o", out, "--voice", "joe", "--speed", "1.2", "--seed", "5", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    with wave.open(str(out)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22050, 1, 2)
        assert file.getnframes() / 22050 == pytest.approx(said["seconds"], abs=1e-3)
    assert said["sentences"] == 2 and said["first_sound_seconds"] < said["work_seconds"]
    assert run("speak", "Hello, world.", "--phonemes").stdout == "həlˈoʊ, wˈɜːld.\n"
    piped = subprocess.run([PLAIT, "speak", "--file", "-", "-o", "-"], input=b"Good morning.", capture_output=True, check=True).stdout
    assert piped[:4] == b"RIFF" and len(piped) > 20000
    for wrong in (["speak"], ["speak", "Hello"], ["speak", "...", "-o", str(out)], ["speak", "Hello", "-o", str(out), "--speed", "99"],
                  ["speak", "Hello", "-o", str(out), "--front-end", "magic"]):
        failed = run(*wrong)
        assert failed.returncode == 2 and failed.stderr.startswith("plait:"), (wrong, failed)
