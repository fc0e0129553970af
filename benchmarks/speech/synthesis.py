"""Text to speech against the reference implementation of the same voice.

    python benchmarks/speech/synthesis.py [--parts hear_lexicon hear_espeak hear_reference speed] [--seeds 0 1] [--rounds 7]

Fifty sentences (the first five lists of the Harvard sentences, IEEE 1969; sentences.txt) are spoken by Plait's voice with
its own front end (hear_lexicon), by Plait's voice with espeak's phonemes (hear_espeak), and by onnxruntime with espeak's
phonemes, which is how Piper speaks (hear_reference); noise is drawn alike. Plait's Whisper (whisper-base, greedy, English)
hears them back, once for each seed of the noise: character errors after OpenAI's normaliser. DNSMOS is that of the package speechmos. Speed: one thread,
symbols to samples of one long sentence, Plait and onnxruntime in turn. Parts add to synthesis.json beside this file; the
table between the marks in docs/speech.md is written from it.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import numpy as np
import torch

import packages
import piper_reference
from speech_reference import character_errors
import plait

RESULTS = HERE / "synthesis.json"
SPEECHMOS = "speechmos==0.0.1.1"
NAMES = {"hear_lexicon": "Plait, its own front end", "hear_espeak": "Plait, espeak's phonemes",
         "hear_reference": "onnxruntime, espeak's phonemes (Piper)"}


def mean_opinion(samples):
    """DNSMOS of sound at 16 kHz: overall, signal, background, and P.808."""
    sys.path.insert(0, str(packages.unpacked(SPEECHMOS)))
    from speechmos import dnsmos

    said = dnsmos.run(np.clip(samples, -1, 1), 16000)
    return {key: float(said[f"{key}_mos"]) for key in ("ovrl", "sig", "bak", "p808")}


def noise(random, symbols):
    return (random.standard_normal((1, 2, symbols)).astype(np.float32), random.standard_normal((1, 192, 3000)).astype(np.float32))


def speaker_of(part):
    """A function of (sentence, seed) that gives samples at 22.05 kHz."""
    voice = plait.SpeechSynthesizer.from_pretrained("joe", front_end="" if part == "hear_lexicon" else "espeak")
    if part != "hear_reference":
        return lambda sentence, seed: voice(sentence, seed=seed).samples.numpy()

    def reference(sentence, seed):
        (phonemes,) = voice.phonemes(sentence)
        ids = piper_reference.ids_of(phonemes)
        return piper_reference.speak(ids, *noise(np.random.default_rng(seed), len(ids)))[0]

    return reference


def hear(part, seeds, known):
    import soxr

    ears = plait.SpeechRecognizer.from_pretrained("whisper-base")
    speak = speaker_of(part)
    sentences = (HERE / "sentences.txt").read_text().splitlines()
    rates, scores, misheard = dict(known.get("character_error_rates", {})), known.get("dnsmos"), dict(known.get("misheard", {}))
    for seed in seeds:
        errors = characters = 0
        wrong, opinions = [], []
        for number, sentence in enumerate(sentences):
            sound = soxr.resample(speak(sentence, 1000 * seed + number), 22050, 16000).astype(np.float32)
            heard = ears.transcribe((sound, 16000), language="en", temperatures=[0.0]).text.strip()
            e, n = character_errors(sentence, heard)
            errors, characters = errors + e, characters + n
            if e:
                wrong.append([sentence, heard])
            if seed == 0:
                opinions.append(mean_opinion(sound))
            print(f"\r{part}: seed {seed}, {number + 1} of {len(sentences)}, {errors} of {characters} characters wrong", end="", file=sys.stderr)
        print(file=sys.stderr)
        rates[str(seed)], misheard[str(seed)] = 100 * errors / characters, wrong
        if seed == 0:
            scores = {key: statistics.mean(row[key] for row in opinions) for key in opinions[0]}
    return {"sentences": len(sentences), "character_error_rates": rates, "dnsmos": scores, "misheard": misheard}


def speed(rounds):
    torch.set_num_threads(1)
    voice = plait.SpeechSynthesizer.from_pretrained("joe")
    text = "A large size in stockings is hard to sell, and the source of the huge river is the clear spring."
    (phonemes,) = voice.phonemes(text)
    ids = voice._handle.symbols(phonemes)
    durations, frames = noise(np.random.default_rng(0), len(ids))
    sound, lasts = piper_reference.speak(ids, durations, frames)
    exact = np.ascontiguousarray(frames[:, :, :int(lasts.sum())])
    feed = {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": np.array([0.667, 1, 0.8], np.float32),
            "duration_noise": durations, "noise": exact}
    session = piper_reference.session()
    output = session.get_outputs()[0].name
    inputs = {"input_ids": torch.tensor([ids]), "duration_noise": torch.from_numpy(durations), "noise": torch.from_numpy(exact)}
    ways = {"plait": lambda: voice._handle.speak_symbols(inputs, {}), "onnxruntime": lambda: session.run([output], feed)}
    times = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, call in ways.items():
            begin = time.perf_counter()
            call()
            if number:  # the first warms up
                times[name].append(time.perf_counter() - begin)
        print(f"\rspeed: round {number} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    seconds = len(sound) / 22050
    firsts = []
    for _ in range(rounds):
        begin = time.perf_counter()
        next(voice.stream(text))
        firsts.append(time.perf_counter() - begin)
    return {"threads": 1, "machine": platform.processor() or platform.machine(), "rounds": rounds, "speech_seconds": seconds,
            "first_sound_seconds": statistics.median(firsts),
            **{name: {"minimum": min(values), "median": statistics.median(values), "real_time_factor": statistics.median(values) / seconds}
               for name, values in times.items()},
            "plait_to_onnxruntime": statistics.median(a / b for a, b in zip(times["plait"], times["onnxruntime"]))}


def table(results):
    lines = ["| spoken by | character errors heard by Whisper | DNSMOS overall | signal | background | P.808 |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for part, name in NAMES.items():
        if part in results:
            row, mos = results[part], results[part]["dnsmos"]
            rates = row["character_error_rates"].values()
            lines.append(f"| {name} | {statistics.mean(rates):.2f} % ({', '.join(f'{rate:.2f}' for rate in rates)}) | {mos['ovrl']:.2f} | {mos['sig']:.2f} "
                         f"| {mos['bak']:.2f} | {mos['p808']:.2f} |")
    if "speed" in results:
        s = results["speed"]
        lines += ["", f"One thread, a sentence of {s['speech_seconds']:.1f} s, median of {s['rounds']} interleaved rounds: Plait needs "
                  f"{s['plait']['real_time_factor']:.3f} of real time, onnxruntime {s['onnxruntime']['real_time_factor']:.3f} (ratio "
                  f"{s['plait_to_onnxruntime']:.2f}). The first sound of a stream comes after {1000 * s['first_sound_seconds']:.0f} ms."]
    return "\n".join(lines)


def write(results):
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    path = ROOT / "docs" / "speech.md"
    text = path.read_text()
    begin, end = "<!-- synthesis -->\n", "<!-- end -->"
    head, rest = text.split(begin)
    path.write_text(head + begin + table(results) + "\n" + rest[rest.index(end):])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=[*NAMES, "speed"], default=[*NAMES, "speed"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1], help="DNSMOS is taken with seed 0")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    for part in args.parts:
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[part] = speed(args.rounds) if part == "speed" else hear(part, args.seeds, results.get(part, {}))
        write(results)
    print(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
