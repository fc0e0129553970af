"""Makes plait/models/quality/text_model.inc, the statistics behind plait.quality.text: English word classes and their
bigrams, known words, letter trigrams, Chinese character bigrams.

    python tools/quality_text_model.py WORDNET_DIR PYTHON_DOC_DIR LIBREOFFICE_HELP_ZH_DIR

Sources (only counts of them are kept): WordNet 3.0 (Debian wordnet-base: data.*, WordNet licence), the Python
documentation (python3.11-doc: html/_sources, PSF licence), LibreOffice help in Chinese (libreoffice-help-zh-cn, MPL-2.0).
Every tenth sentence is left out for measurements (`sentences(..., held_out=True)`).
"""
import base64
import collections
import html
import pathlib
import re
import struct
import sys

import numpy as np

FUNCTION_WORDS, CLUSTERS, VOCABULARY, KNOWN = 90, 40, 3000, 30000
BLOOM_WORDS_BITS, BLOOM_HAN_BITS, HASHES = 1 << 18, 1 << 17, 4
SUFFIXES = ["ing", "ed", "ly", "tion", "ness", "ment", "ous", "ive", "able", "al", "er", "est", "ies", "s", "y", "ic"]
SPECIAL = len(SUFFIXES) + 3  # + number, capitalised, other
TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+(?:[.,]\d+)*|[.,;:!?]")
OUT = pathlib.Path(__file__).resolve().parents[1] / "plait" / "models" / "quality" / "text_model.inc"


def fnv(data, seed):
    h = (0xCBF29CE484222325 ^ (seed * 0x9E3779B97F4A7C15)) & (2**64 - 1)
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & (2**64 - 1)
    return h ^ (h >> 29)


def split_sentences(text):
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n", re.sub(r"[ \t]*\n(?!\s*\n)[ \t]*", " ", text))]


def english(wordnet, docs):
    out = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (wordnet / f"data.{part}").read_text(encoding="utf-8", errors="ignore").splitlines():
            gloss = line.split(" | ", 1)[1].strip() if " | " in line else ""
            examples = re.findall(r'"([^"]+)"', gloss)
            out.append(("gloss", re.sub(r'"[^"]*"', "", gloss).strip(" ;")))
            out += [("example", e) for e in examples]
    for path in sorted(docs.rglob("*.rst.txt")):
        text = re.sub(r"``[^`]*``|:[a-z:]+:`[^`]*`", " it ", path.read_text(encoding="utf-8", errors="ignore"))
        for s in split_sentences(text):
            if re.fullmatch(r"[A-Z][A-Za-z0-9 ,;:'()\-]{30,400}[.]", s):
                out.append(("doc", s))
    return [(kind, s) for kind, s in out if s]


def chinese(folder):
    out = []
    for path in sorted(folder.rglob("*.html")):
        text = html.unescape(re.sub(r"<[^>]+>", "\n", path.read_text(encoding="utf-8", errors="ignore")))
        for line in text.splitlines():
            if len(re.findall(r"[\u4e00-\u9fff]", line)) >= 8:
                out.append(line.strip())
    return list(dict.fromkeys(out))


def is_held_out(sentence):
    return fnv(sentence.encode(), 7) % 10 == 0


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
    from sklearn.cluster import KMeans

    wordnet, docs, zh = map(pathlib.Path, sys.argv[1:4])
    kept = [(k, s) for k, s in english(wordnet, docs) if not is_held_out(s)]
    tokens, counts = [], collections.Counter()
    for _, s in kept:
        words = TOKEN.findall(s)
        # The first word's capital says nothing about the word.
        words = [w.lower() if i == 0 else w for i, w in enumerate(words)]
        tokens.append(words)
        counts.update(w for w in words)
    frequent = [w for w, n in counts.most_common(VOCABULARY + 400) if w[0].isalpha() and w == w.lower() or w in ".,;:!?"]
    frequent = frequent[:VOCABULARY]
    index = {w: i for i, w in enumerate(frequent)}

    # Contexts of every frequent word: its neighbours on both sides among the first 400.
    n_context = 400
    context = np.zeros((len(frequent), 2 * n_context), np.float32)
    for words in tokens:
        ids = [index.get(w, -1) for w in words]
        for a, b in zip(ids, ids[1:]):
            if a >= 0 and 0 <= b < n_context:
                context[a, n_context + b] += 1
            if b >= 0 and 0 <= a < n_context:
                context[b, a] += 1
    expected = context.sum(1, keepdims=True) * context.sum(0, keepdims=True) / context.sum()
    ppmi = np.maximum(np.log((context + 1e-3) / np.maximum(expected, 1e-3)), 0) * (context > 0)
    u, s, _ = np.linalg.svd(ppmi - ppmi.mean(0), full_matrices=False)
    embedding = u[:, :40] * np.sqrt(s[:40])
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True) + 1e-6
    labels = KMeans(CLUSTERS, n_init=2, random_state=0).fit_predict(embedding[FUNCTION_WORDS:])
    classes = {w: i if i < FUNCTION_WORDS else FUNCTION_WORDS + int(labels[i - FUNCTION_WORDS])
               for w, i in index.items()}
    first_special = FUNCTION_WORDS + CLUSTERS
    n = first_special + SPECIAL + 2  # + begin, end
    begin, end = n - 2, n - 1

    near, skip = np.zeros((n, n)), np.zeros((n, n))
    for words in tokens:
        ids = [begin] + [classes.get(w, first_special + suffix_class(w)) for w in words] + [end]
        for a, b in zip(ids, ids[1:]):
            near[a, b] += 1
        for a, b in zip(ids, ids[2:]):
            skip[a, b] += 1

    def log_ratio(table):
        """log P(a, b)/(P(a) P(b)), smoothed towards 0, in 1/16 nats around 128."""
        total = table.sum()
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / total
        value = np.log((table + 2.0) / (expected + 2.0))
        return np.clip(np.round(value * 16) + 128, 0, 255).astype(np.uint8)

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
    extra = [w for w in sorted(lemmas, key=lambda w: (len(w), w)) if w not in set(words)]
    words += extra[: max(0, KNOWN - len(words))]

    pairs, single = collections.Counter(), collections.Counter()
    for s in chinese(zh):
        if is_held_out(s):
            continue
        for run in re.findall(r"[\u4e00-\u9fff]+", s):
            single.update(run)
            pairs.update(a + b for a, b in zip(run, run[1:]))
    han = [p for p, k in pairs.most_common(19000)]

    vocabulary = "\n".join(f"{w}\t{classes[w]}" for w in sorted(frequent)).encode()
    header = struct.pack("<10I", n, FUNCTION_WORDS, first_special, BLOOM_WORDS_BITS, BLOOM_HAN_BITS, HASHES,
                         len(vocabulary), len(words), len(han), len(SUFFIXES))
    blob = b"".join([header, vocabulary, log_ratio(near).tobytes(), log_ratio(skip).tobytes(), letter_table.tobytes(),
                     bloom(words, BLOOM_WORDS_BITS).tobytes(), bloom(han, BLOOM_HAN_BITS).tobytes()])
    print(f"{len(kept)} sentences, {sum(counts.values())} words, {len(words)} known, {len(han)} Chinese pairs, "
          f"{len(blob) / 1024:.0f} KiB")
    text = base64.b64encode(blob).decode()
    lines = [f'"{text[i : i + 116]}"' for i in range(0, len(text), 116)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("// Made by tools/quality_text_model.py.\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
