"""Chinese read aloud as pinyin: characters and phrases against pypinyin itself on real sentences, numbers, and tones that
change before others."""
import pathlib
import re
import sys

import pytest

import packages
import plait

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference():
    sys.path.insert(0, str(packages.unpacked("pypinyin==0.55.0")))
    import pypinyin

    yield lambda text: pypinyin.lazy_pinyin(text, style=pypinyin.Style.TONE3, neutral_tone_with_five=True, errors="ignore")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def plain():
    return plait.TextReader.from_pretrained("pinyin", front_end="plain_pinyin")


@pytest.fixture(scope="module")
def reader():
    return plait.TextReader.from_pretrained("pinyin")


def test_characters_and_phrases_equal_pypinyin(plain, reference):
    lines = (ROOT / "benchmarks/quality/sentences_zh.txt").read_text().splitlines()
    lines = [re.sub(r"[^\u4e00-\u9fff，。！？、]", "", line) for line in lines if not line.startswith("#")]
    lines = [line for line in lines if len(line) >= 4] + ["银行行长行不行？", "他长得很长。", "重庆的重量重新计算。", "音乐使人快乐。"]
    syllables = 0
    for line in lines:
        ours = re.findall(r"[a-zê]+[1-5]", " ".join(plain(line)))
        theirs = [sound for piece in re.split("[，。！？、]", line) for sound in reference(piece)]
        assert ours == theirs, line
        syllables += len(theirs)
    assert syllables > 500


@pytest.mark.parametrize("written, spoken", [
    ("123", "一百二十三"), ("10", "十"), ("110", "一百一十"), ("1005", "一千零五"), ("10010", "一万零一十"), ("100000", "十万"),
    ("120000000", "一亿二千万"), ("1,234元", "一千二百三十四元"), ("-5℃", "负五摄氏度"), ("3.14", "三点一四"), ("50%", "百分之五十"),
    ("１２％", "百分之十二"), ("2024年3月1日", "二零二四年三月一日"), ("2024-03-01", "二零二四年三月一日"), ("3:45", "三点四十五分"),
    ("12:00", "十二点整"), ("2:30", "两点半"), ("1/3", "三分之一"), ("10-20人", "十到二十人"), ("2个人", "两个人"), ("第2个", "第二个"),
    ("12个", "十二个"), ("¥5.5", "五点五元"), ("$3万", "三万美元"), ("13812345678", "一三八一二三四五六七八"), ("007", "零零七"),
    ("5km", "五公里"), ("没有数字", "没有数字"),
])
def test_numbers_are_read_as_characters(written, spoken):
    assert plait._C.spell_chinese(written) == spoken


@pytest.mark.parametrize("text, sounds", [
    ("你好", "ni2 hao3."), ("不是", "bu2 shi4."), ("不好", "bu4 hao3."), ("一天", "yi4 tian1."), ("一定", "yi2 ding4."), ("第一", "di4 yi1."),
    ("十一月", "shi2 yi1 yue4."), ("保管好", "bao2 guan2 hao3."), ("老虎", "lao2 hu3."), ("绿色", "lv4 se4."),
    ("你好，世界！再见。", None),
])
def test_tones_change_before_others(reader, text, sounds):
    assert reader(text) == ([sounds] if sounds else ["ni2 hao3, shi4 jie4!", "zai4 jian4."])


def test_other_scripts_and_bad_input(reader):
    assert reader("我用Plait。") == ["wo3 yong4 Plait."]
    assert reader("") == [] and reader("，。") == []
    for text in ["\x00", "1" * 500, "-", "年" * 300, "2024-", "1/0", "💡一个"]:
        reader(text)
    with pytest.raises(plait.LimitError):
        reader("一" * 400_000)
    with pytest.raises(ValueError, match="reader"):
        plait.TextReader.from_pretrained("minilm")
    assert reader.language == "zh" and plait.TextReader.from_pretrained("joe")("Hello.") == ["həlˈoʊ."]
