#!/usr/bin/env python3
"""Tiny tokenizers and what the `tokenizers` package makes of a few texts -> tests/golden/tokenizers/*.json."""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/python"), str(ROOT / "tools/golden")]
import test_tokenizers as reference  # noqa: E402
import tokenizers  # noqa: E402

TEXTS = ["The quick brown fox.", "今天天气很好，let's go! 👍🏽", "", "  a\tb\u00a0c\n", "naïve CAFÉ e\u0301 ﬁ ①", "1,234.5 don't", "a\x00b\ufffd", "[CLS] <s> x"]
OUT = ROOT / "tests/golden/tokenizers"
OUT.mkdir(exist_ok=True)
for name in ["bert-uncased", "gpt2", "llama2", "word-level"]:
    build = {"bert-uncased": reference.wordpiece(True), "gpt2": reference.gpt2, "llama2": reference.llama2, "word-level": reference.word_level}[name]
    tokenizer, trainer = build()
    tokenizer.train_from_iterator(reference.ENGLISH_AND_CHINESE, trainer(vocab_size=600, show_progress=False))
    cases = []
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        cases.append({"text": text, "ids": encoding.ids, "offsets": reference.byte_offsets(text, encoding), "decoded": tokenizer.decode(encoding.ids) if encoding.ids else ""})
    root = {"reference": f"tokenizers {tokenizers.__version__}", "cases": cases, "tokenizer": json.loads(tokenizer.to_str())}
    (OUT / f"{name}.json").write_text(json.dumps(root, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
