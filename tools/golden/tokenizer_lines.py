#!/usr/bin/env python3
"""At least 5,000 lines of mixed text for tokenizer parity, the same ones every time.

    python tools/golden/tokenizer_lines.py > lines.jsonl     (one JSON string per line)
"""
import glob
import json
import pydoc_data.topics
import random
import re
import sys
import unicodedata
import xml.etree.ElementTree as ElementTree

CLDR = "/usr/share/unicode/cldr/common/annotations"
LANGUAGES = ["en", "zh", "zh_Hant", "ja", "ko", "ar", "he", "hi", "th", "ru", "de", "fr", "es", "vi", "ta", "km", "fa", "el", "tr", "my"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u1680", "\u2002", "\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f",
          "\u205f", "\u3000", "\x0b", "\x0c", "\x85", "\x1c", "\ufeff", "\u200b", "\u00ad", "\u2060", "\u180e"]
CHINESE = ["今天天气很好，我们去公园吧！", "模型的准确率是95.3%。", "深度學習框架", "他说：“你好”。", "北京大学与清华大学", "请把文件发送到 example@mail.com",
           "《红楼梦》第三回", "两个黄鹂鸣翠柳，一行白鹭上青天", "價格是￥1,299.00元", "𠀀𠀁𪚥𫝀", "ＡＢＣ１２３　全角", "〇一二三四五六七八九十"]
ENGLISH = ["The quick brown fox jumps over the lazy dog.", "I can't believe it's not butter!", "State-of-the-art results (see Fig. 3).",
           "they'll've DON'T we'Re I'M you'd", "e.g. 3.14159, -42, 1e-9, 0xDEADBEEF", "Visit https://example.org/a?b=c&d=%20#frag now",
           "naïve café résumé Ångström coöperate", "supercalifragilisticexpialidocious", "def f(x): return x ** 2  # comment",
           "   leading and trailing   ", "UPPER lower MiXeD", "C++ & C# are languages; so is F#."]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇳🇺🇸", "❤️", "☺", "1️⃣", "🧑🏿‍🚀", "👁️‍🗨️", "🫠", "🥹", "©️", "™", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🪿"]
EDGES = ["", " ", "  ", "\n", "\n\n\n", "\x00", "a\x00b", "\x01\x02\x1f\x7f", "\ufffd", "\ufffe", "\uffff", "\ue000", "\U0010ffff", "\ud7ff", "\ue000a",
         "\U00010000", "\U000e0001", "\U000f0000", "a" * 99, "a" * 100, "a" * 101, "a" * 1000, "中" * 300, "é" * 120, "e\u0301" * 80, "!" * 200,
         "ab" * 2000, "\u0301", "\u0301abc", "a\u0301\u0323\u0308", "a\u0323\u0301", "\u1e9b\u0323", "\u212b\u2126", "ﬁ ﬂ ﬃ ﬅ", "①②③ Ⅳ ⅷ ½ ⅔",
         "İstanbul IĞDIR ıi", "ΑΣ ΟΔΟΣ ς", "ẞ ß SS", "ǅ ǈ ǋ", "한국어 텍스트", "\u1112\u1161\u11ab\u1100\u1173\u11af", "ｶﾞｷﾞｸﾞ", "か\u3099き\u3099",
         "क्षत्रिय हिन्दी", "ราคา ๑๒๓ บาท", "שָׁלוֹם עוֹלָם", "مَرْحَبًا بالعالم", "\u202eright to left\u202c", "a\u200db\u200cc", "पा\u200dनी",
         "[CLS] [SEP] [MASK] [UNK] [PAD]", "<s> </s> <unk> <pad> <mask>", "<|endoftext|><|startoftranscript|> <|en|>text<|notimestamps|>", "[mask][MASK]x",
         "x[SEP]y", "##ing ##s #", "▁▁ ▁a ▁", "Ġthe Ċ", "<0x0A><0xFF>", "</w> a</w>", "\u0130\u0307", "\u0344\u0340\u0341", "\u1d165\U0001d165", "\u302e\u302f",
         "\r\n\r\n a \r b \n", "a\tb\tc", "‘quoted’ “text” – — … ‰", "$€£¥₹₿", "x²+y³=z₁", "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋", "a/b\\c|d~e`f^g", "foo_bar __init__ fooBar",
         "1,234,567.89", "12:30:45 2024-02-29", "\u0e33\u0e4d\u0e32", "\u0958\u0915\u093c", "ͅα", "\ua9bd\u1734\u111c9", "\U0001e900\U0001e921", "\u10a0\u2d00\u1c90"]


def annotations():
    for language in LANGUAGES:
        for path in sorted(glob.glob(f"{CLDR}/{language}.xml")):
            for node in ElementTree.parse(path).iter("annotation"):
                text = (node.text or "").strip()
                yield language, node.get("cp"), text.split(" | ")


def lines(seed=20240607, count=6000):
    rng = random.Random(seed)
    out = list(EDGES) + CHINESE + ENGLISH + EMOJI
    # Names and key words of emoji in twenty languages, alone and mixed within a line.
    names = list(annotations())
    if not names:
        sys.exit(f"no annotations in {CLDR}: install unicode-cldr-core")
    for language, emoji, words in rng.sample(names, 1600):
        out.append(rng.choice(["{0} {1}", "{1}{0}", "{1}: {0}.", "{0}，{1}！"]).format(emoji, rng.choice([" ", ", ", "、"]).join(words)))
    for _ in range(700):
        parts = [rng.choice(names)[2][0] for _ in range(rng.randint(2, 5))] + [rng.choice(EMOJI)]
        rng.shuffle(parts)
        out.append(rng.choice(SPACES).join(parts))
    # Real English prose and code.
    prose = [line for _, text in sorted(pydoc_data.topics.topics.items()) for line in text.split("\n") if line.strip()]
    out += rng.sample(prose, 900)
    # Code-switched lines.
    for _ in range(600):
        words = rng.choice(ENGLISH).split() + [rng.choice(CHINESE)] + [rng.choice(EMOJI)] + rng.choice(CHINESE).split("，")
        rng.shuffle(words)
        out.append(rng.choice(["", " ", " "]).join(words[: rng.randint(2, 9)]))
    # Every block of assigned code points, some of them between letters.
    assigned = [chr(c) for c in range(0x20, 0x32000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    assigned += [chr(c) for c in range(0xE0000, 0xE01F0) if unicodedata.category(chr(c)) != "Cn"]
    small = [c for c in assigned if not (0x3400 <= ord(c) < 0xA000 or 0xAC00 <= ord(c) < 0xD7A4 or 0x17000 <= ord(c) < 0x19000 or 0x20000 <= ord(c) < 0x32000)]
    for begin in range(0, len(small), 40):
        out.append("".join(small[begin : begin + 40]))
    for _ in range(500):
        out.append("".join(rng.choice(assigned) for _ in range(rng.randint(1, 30))))
    for _ in range(300):
        out.append("".join(rng.choice(["a", "B", "中", "é", " ", "1", "."]) + rng.choice(small) for _ in range(rng.randint(1, 20))))
    # Marks on letters, kinds of white space, noise from the edge cases.
    marks = [chr(c) for c in range(0x300, 0x36F)] + ["\u200d", "\u200c", "\ufe0f", "\u20e3", "\u3099", "\u0941", "\u05b0", "\u064b"]
    for _ in range(400):
        out.append("".join(rng.choice("aeiouÅçnのकא") + "".join(rng.choice(marks) for _ in range(rng.randint(0, 4))) for _ in range(rng.randint(1, 12))))
    for _ in range(300):
        out.append("".join(rng.choice(["x", "中文", "word", "1", "!"]) + "".join(rng.choice(SPACES) for _ in range(rng.randint(0, 3))) for _ in range(rng.randint(1, 12))))
    while len(out) < count:
        out.append("".join(rng.choice(EDGES + CHINESE + ENGLISH + EMOJI)[: rng.randint(1, 60)] for _ in range(rng.randint(1, 4))))
    return [re.sub("[\ud800-\udfff]", "\ufffd", line) for line in out]


if __name__ == "__main__":
    for line in lines():
        print(json.dumps(line))
