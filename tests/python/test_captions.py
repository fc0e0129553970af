"""Pictures and language models: a folder of LLaVA's type as transformers writes it, low-rank adapters as PEFT writes them."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch

import plait
from conftest import ROOT

PLAIT = pathlib.Path(plait.__file__).parent / "bin" / "plait"

TEMPLATE = ("{% for message in messages %}{{ message['role'].upper() }}: {% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
            "<image>\n{% endfor %}{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
            " {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}")
GOLDEN = ROOT / "tests" / "golden"


def run(*arguments):
    done = subprocess.run([str(PLAIT), *map(str, arguments)], capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """(folder, model, processor) with seeded weights and a tokenizer of bytes."""
    import tokenizers
    import transformers

    core = tokenizers.Tokenizer(tokenizers.models.BPE(
        vocab={c: i for i, c in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    core.add_special_tokens(["<s>", "</s>", "<pad>", "<image>"])
    core.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                                     extra_special_tokens={"image_token": "<image>"})
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 12, "width": 12})
    processor = transformers.LlavaProcessor(image_processor=images, tokenizer=tokenizer, patch_size=4, vision_feature_select_strategy="default",
                                            num_additional_image_tokens=1, chat_template=TEMPLATE)
    vision = transformers.CLIPVisionConfig(image_size=12, patch_size=4, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3)
    text = transformers.LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                    intermediate_size=24, max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id,
                                    eos_token_id=tokenizer.eos_token_id)
    torch.manual_seed(5)
    model = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=tokenizer.convert_tokens_to_ids("<image>"))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.1) + (1 if parameter.dim() == 1 else 0))
    folder = tmp_path_factory.mktemp("llava")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder, model, processor


def pictures(count):
    return [np.random.default_rng(i).integers(0, 256, (20 + 3 * i, 24, 3), dtype=np.uint8) for i in range(count)]


def reference(model, processor, messages, images, tokens=12):
    """The reference's greedy answer."""
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=images, text=prompt, return_tensors="pt")
    with torch.no_grad():
        made = model.generate(**inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return inputs["input_ids"][0].tolist(), made[0, inputs["input_ids"].shape[1]:].tolist()


def asked(question, images=1):
    return [{"role": "user", "content": [{"type": "image"}] * images + [{"type": "text", "text": question}]}]


def test_answers_as_transformers(llava):
    folder, model, processor = llava
    captioner = plait.Captioner.from_pretrained(folder)
    assert captioner.image_token == "<image>" and captioner.languages == ["en", "zh"]
    eos = processor.tokenizer.eos_token_id
    for picture in pictures(3):
        ids, expected = reference(model, processor, asked("What is this?"), [picture])
        answer = captioner.ask(picture, "What is this?", max_new_tokens=12)
        made = [token["id"] for token in answer.tokens]
        assert answer.prompt_tokens == len(ids)
        assert made == (expected[:expected.index(eos)] if eos in expected else expected)
        assert captioner.chat(asked("What is this?"), [picture], max_new_tokens=12).text == answer.text
        caption = captioner.caption(picture, max_new_tokens=4)
        assert caption.text == captioner.ask(picture, "Describe this picture in one sentence.", max_new_tokens=4).text
    two = pictures(2)
    ids, expected = reference(model, processor, asked("Which one?", 2), two)
    made = captioner.chat(asked("Which one?", 2), two, max_new_tokens=12)
    assert [token["id"] for token in made.tokens] == (expected[:expected.index(eos)] if eos in expected else expected)
    assert made.prompt_tokens == len(ids)


def test_batches_and_errors(llava):
    captioner = plait.Captioner.from_pretrained(llava[0])
    questions = ["What?", "A longer question than the first", "Why?", "Where is it now?"]
    together = captioner.ask(pictures(4), questions, max_new_tokens=10)
    alone = [captioner.ask(picture, question, max_new_tokens=10) for picture, question in zip(pictures(4), questions)]
    assert [row.text for row in together] == [row.text for row in alone]
    assert [[t["id"] for t in row.tokens] for row in together] == [[t["id"] for t in row.tokens] for row in alone]
    with pytest.raises(ValueError, match="en, zh"):
        captioner.caption(pictures(1)[0], language="fr")
    with pytest.raises(ValueError, match="<image>"):
        captioner.generate("no place for a picture", pictures(1))
    with pytest.raises(ValueError, match="placeholder"):
        captioner.generate("<image> a place too many <image>", pictures(1))
    with pytest.raises(ValueError, match="question"):
        captioner.ask(pictures(1)[0], "")
    with pytest.raises(plait.DataError):
        captioner.caption(b"no picture")
    with pytest.raises((ValueError, FileNotFoundError)):
        plait.Captioner.from_pretrained(GOLDEN / "published_decoders" / "llama")


def test_command_line(llava, tmp_path):
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.fromarray(pictures(1)[0]).save(path)
    captioner = plait.Captioner.from_pretrained(llava[0])
    assert json.loads(run("caption", path, "-m", llava[0], "-n", 8, "--json"))["text"] == captioner.caption(path, max_new_tokens=8).text
    shown = subprocess.run([sys.executable, ROOT / "examples" / "describe_picture.py", llava[0], path, "What?"], capture_output=True, text=True)
    assert shown.returncode == 0 and "What? " in shown.stdout, shown.stderr
    assert json.loads(run("ask", path, "What?", "-m", llava[0], "-n", 8, "--json"))["text"] == captioner.ask(path, "What?", max_new_tokens=8).text


def test_merges_adapters(tmp_path):
    import transformers
    from safetensors.torch import load_file

    base, adapter = GOLDEN / "published_decoders" / "llama", GOLDEN / "lora" / "plain"
    told = plait.merge_adapter(base, adapter, tmp_path / "merged")
    assert told["tensors"] == 6 and told["rank"] == 4 and told["scale"] == 2
    expected = load_file(adapter / "expected.safetensors")
    model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=expected["inputs.input_ids"]).logits, expected["outputs.logits"], rtol=1e-4, atol=1e-4)
    assert "rank 4" in run("lora", "merge", base, adapter, tmp_path / "again")
    ours, theirs = load_file(tmp_path / "again" / "model.safetensors"), load_file(tmp_path / "merged" / "model.safetensors")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    with pytest.raises(ValueError, match="empty"):
        plait.merge_adapter(base, adapter, tmp_path / "merged")


def test_teaches_a_small_language_model(tmp_path):
    """The command on synthetic scenes with a small random language model: the loss falls, the report compares, a finished run
    is found again, and the folder that it writes answers. That pictures are learnt from is tested at length in
    tests/train/test_captions.cpp."""
    import tokenizers
    import transformers
    from PIL import Image

    words = ["a", "red", "green", "blue", "yellow", "purple", "orange", "black"]
    core = tokenizers.Tokenizer(tokenizers.models.BPE(
        vocab={c: i for i, c in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=420, special_tokens=["<|im_end|>", "<reponame>"], show_progress=False,
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    core.train_from_iterator(["Question: What colour is the Answer: " + " ".join(words)] * 4 + [
        "Where are the circles squares triangles stars crosses rings diamonds left right top bottom one two three How many there What on"], trainer)
    folder = tmp_path / "language"
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>").save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=core.get_vocab_size(), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                                      intermediate_size=128, max_position_embeddings=256, eos_token_id=0, initializer_range=0.2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"decoder": str(folder), "data": ["scenes"], "scenes": 160, "held_out": 24, "max_steps": 150, "batch_size": 32,
                                  "learning_rate": 5e-3, "save_steps": 75, "max_answer_tokens": 48,
                                  "lora": {"rank": 32, "alpha": 64.0, "target_modules": "all-linear"}}))
    report = json.loads(run("train-captioner", "--recipe", recipe, "--output", tmp_path / "out", "--json"))
    questions = report["results"]["scenes/questions"]
    assert questions["measure"] == "accuracy" and set(questions["scores"]) == {"model", "retrieval", "without_picture"}
    assert questions["against"]["without_picture"]["low"] <= questions["against"]["without_picture"]["difference"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]
    colour = report["results"]["scenes/colour"]["scores"]
    assert set(colour) == {"model", "retrieval", "without_picture"} and all(0 <= score <= 1 for score in colour.values())
    # A second call finds the run finished and gives the same model.
    again = json.loads(run("train-captioner", "--recipe", recipe, "--output", tmp_path / "out", "--json"))
    assert again["results"]["scenes/colour"]["scores"]["model"] == colour["model"]
    captioner = plait.Captioner.from_pretrained(tmp_path / "out" / "model")
    picture = np.full((224, 224, 3), 230, dtype=np.uint8)
    picture[80:150, 20:90] = (220, 40, 40)
    Image.fromarray(picture).save(tmp_path / "square.png")
    assert captioner.ask(picture, "What colour is the square?", max_new_tokens=8).text.strip()
    assert captioner.caption(tmp_path / "square.png", language="zh", max_new_tokens=4).text is not None
