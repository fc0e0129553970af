"""A prosody predictor trained on what Plait's voice says, against means.

    python benchmarks/speech/prosody.py [--plait build/bin/plait] [--seeds 3] [--texts 200] [--held-out 100]

The texts are example sentences and glosses of WordNet (benchmarks/quality/sentences_en.txt): those marked "development" to
learn from, those marked "measured" held out. The sound is synthetic: the voice speaks with its own noise, durations are
those that it spoke by, pitch and energy are measured. Mean absolute errors on the held-out texts of the predictor, of the
mean of each symbol and of the mean, for each seed of the predictor. Writes prosody.json beside this file and the table
between the marks in docs/speech.md.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KINDS = [("log_duration", "log duration"), ("pitch_semitones", "pitch, semitones"), ("energy_db", "energy, dB")]


def table(result):
    lines = [f"Learned from {result['train_sentences']} sentences ({result['train_seconds'] / 60:.0f} min of synthetic speech), measured on "
             f"{result['held_out_sentences']} others, {len(result['runs'])} seeds (mean ± spread):", "",
             "| mean absolute error | predictor | mean of each symbol | mean |", "| --- | ---: | ---: | ---: |"]
    for key, name in KINDS:
        values = [run[key]["model"] for run in result["runs"]]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        first = result["runs"][0][key]
        lines.append(f"| {name} | {statistics.mean(values):.3f} ± {spread:.3f} | {first['symbol_mean']:.3f} | {first['mean']:.3f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plait", default=str(ROOT / "build/bin/plait"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--held-out", type=int, default=100)
    args = parser.parse_args()
    rows = [line.split("\t") for line in (ROOT / "benchmarks/quality/sentences_en.txt").read_text().splitlines() if not line.startswith("#")]
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for kind, count in (("development", args.texts), ("measured", args.held_out)):
            files.append(pathlib.Path(folder) / f"{kind}.txt")
            files[-1].write_text("\n".join([text for label, text in rows if label == kind][:count]) + "\n")
        done = subprocess.run([args.plait, "prosody", "--sentences", files[0], "--held-out", files[1], "--seeds", str(args.seeds), "--json"],
                              check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    (HERE / "prosody.json").write_text(json.dumps(result, indent=1) + "\n")
    path = ROOT / "docs" / "speech.md"
    text = path.read_text()
    head, rest = text.split("<!-- prosody -->\n")
    path.write_text(head + "<!-- prosody -->\n" + table(result) + "\n" + rest[rest.index("<!-- end -->"):])
    print(table(result))


if __name__ == "__main__":
    main()
