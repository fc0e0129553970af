"""Pictures of texts against diffusers' pipelines on a folder of Stable Diffusion 1's layout with small networks of random
weights: latents after every step, the pictures, picture to picture, in-painting; the tokenizer; what may be wrong."""
import json
import pathlib
import shutil
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

import plait

PROMPT, NEGATIVE = "A red Apple's on 3 tables", "grey, blurred"
PARTS = {"scheduler": "DDIMScheduler", "text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer", "unet": "UNet2DConditionModel",
         "vae": "AutoencoderKL"}
SAMPLERS = {"ddim": diffusers.DDIMScheduler, "euler": diffusers.EulerDiscreteScheduler, "dpm++": diffusers.DPMSolverMultistepScheduler,
            "pndm": diffusers.PNDMScheduler, "ddpm": diffusers.DDPMScheduler}


def write_tokenizer(folder):
    """Byte pairs over a few words, as OpenAI's vocabulary is laid out: bytes, bytes at the end of a word, merges, start, end."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    merges = ["r e", "re d</w>", "a p", "p l", "ap pl", "appl e</w>", "o n</w>", "t a", "b l", "ta bl", "e s</w>", "tabl es</w>", "' s</w>",
              "g re"]
    vocab = {token: i for i, token in enumerate([*symbols, *(s + "</w>" for s in symbols), *("".join(m.split()) for m in merges),
                                                 "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 16,
                                                              "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
                                                              "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}))
    return len(vocab)


def seeded(module, seed):
    """Weights large enough that text, time and noise all matter to the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() >= 2:
                parameter.copy_(noise * max(parameter[0].numel(), 1) ** -0.5)
            else:
                parameter.add_(0.1 * noise)
    return module.eval()


def write_model(folder, in_channels=4, seed=1):
    words = write_tokenizer(folder / "tokenizer")
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=words, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16,
        eos_token_id=words - 1, bos_token_id=words - 2, pad_token_id=words - 1))
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=in_channels, down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"], block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=16, attention_head_dim=2)
    vae = diffusers.AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
                                  block_out_channels=[8, 12], norm_num_groups=4, sample_size=16)
    seeded(text, seed).save_pretrained(folder / "text_encoder")
    seeded(unet, seed + 1).save_pretrained(folder / "unet")
    seeded(vae, seed + 2).save_pretrained(folder / "vae")
    diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
                            steps_offset=1).save_pretrained(folder / "scheduler")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__, "safety_checker": [None, None],
             "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False}
    for part, name in PARTS.items():
        index[part] = ["transformers" if name.startswith("CLIP") else "diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pictures") / "model")


@pytest.fixture(scope="module")
def model(folder):
    return plait.PictureGenerator.from_pretrained(folder)


@pytest.fixture(scope="module")
def reference(folder):
    """The parts, loaded once for all of diffusers' pipelines."""
    pipe = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL.from_pretrained(folder / "vae"), text_encoder=transformers.CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=diffusers.UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def as_kind(reference, kind, sampler):
    """A pipeline of that class on the same parts."""
    settings = {"skip_prk_steps": True} if sampler == "pndm" else {}
    scheduler = SAMPLERS[sampler].from_config(reference.scheduler.config, **settings)
    parts = {name: part for name, part in reference.components.items() if name != "scheduler"}
    pipe = kind(**parts, scheduler=scheduler, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run_reference(pipe, **options):
    latents = []

    def keep(pipeline, step, timestep, tensors):
        latents.append(tensors["latents"].clone())
        return {}

    with torch.no_grad():
        picture = pipe(PROMPT, negative_prompt=NEGATIVE, output_type="np", callback_on_step_end=keep, **options).images
    return latents, picture


def run_ours(model, **options):
    latents = []

    def keep(step, total, timestep, now):
        latents.append(now.clone())

    pictures = model.draw(PROMPT, negative_prompt=NEGATIVE, on_step=keep, **options)
    return latents, pictures


def compare(ours, theirs, tolerance=1e-4):
    (latents, pictures), (expected, images) = ours, theirs
    assert len(latents) == len(expected) > 0
    for step, (a, b) in enumerate(zip(latents, expected)):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * max(1, b.abs().max()), step
    assert len(pictures) == len(images)
    for picture, image in zip(pictures, images):
        assert np.abs(np.asarray(picture).astype(float) - image * 255).max() <= 1.01


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_latents_after_every_step_and_picture(model, reference, sampler):
    pipe = as_kind(reference, diffusers.StableDiffusionPipeline, sampler)
    theirs = run_reference(pipe, num_inference_steps=6, guidance_scale=7.5, generator=torch.Generator().manual_seed(3))
    ours = run_ours(model, num_inference_steps=6, guidance_scale=7.5, seed=3, sampler=sampler)
    compare(ours, theirs)


def test_given_noise_eta_size_and_several_pictures(model, reference):
    noise = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(9))
    pipe = as_kind(reference, diffusers.StableDiffusionPipeline, "ddim")
    options = dict(num_inference_steps=5, guidance_scale=3.0, num_images_per_prompt=2, height=16, width=24, eta=0.5)
    theirs = run_reference(pipe, latents=noise, generator=torch.Generator().manual_seed(4), **options)
    compare(run_ours(model, noise=noise, seed=4, **options), theirs)


def test_without_guidance(model, reference):
    pipe = as_kind(reference, diffusers.StableDiffusionPipeline, "dpm++")
    theirs = run_reference(pipe, num_inference_steps=16, guidance_scale=1.0, generator=torch.Generator().manual_seed(3))
    compare(run_ours(model, num_inference_steps=16, guidance_scale=1.0, seed=3, sampler="dpm++"), theirs)


def scene(size=(16, 16)):
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([x * 255 // size[1], y * 255 // size[0], (x + y) * 4 % 256], -1).astype(np.uint8)


def half_mask(size=(16, 16)):
    mask = np.zeros((*size, 3), np.uint8)
    mask[:, size[1] // 2:] = 255
    return mask


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++"])
def test_picture_to_picture(model, reference, sampler):
    pipe = as_kind(reference, diffusers.StableDiffusionImg2ImgPipeline, sampler)
    theirs = run_reference(pipe, image=Image.fromarray(scene()), strength=0.6, num_inference_steps=8, guidance_scale=4.0,
                           generator=torch.Generator().manual_seed(5))
    compare(run_ours(model, image=scene(), strength=0.6, num_inference_steps=8, guidance_scale=4.0, seed=5, sampler=sampler), theirs)


@pytest.mark.parametrize("sampler,strength", [("ddim", 1.0), ("ddim", 0.5), ("euler", 0.7), ("dpm++", 1.0)])
def test_in_painting(model, reference, sampler, strength):
    pipe = as_kind(reference, diffusers.StableDiffusionInpaintPipeline, sampler)
    theirs = run_reference(pipe, image=Image.fromarray(scene()), mask_image=Image.fromarray(half_mask()), strength=strength, height=16, width=16,
                           num_inference_steps=8, guidance_scale=4.0, generator=torch.Generator().manual_seed(6))
    ours = run_ours(model, image=scene(), mask=half_mask(), strength=strength, num_inference_steps=8, guidance_scale=4.0, seed=6, sampler=sampler)
    compare(ours, theirs)


def test_in_painting_by_a_network_that_sees_the_mask(tmp_path, reference):
    folder = write_model(tmp_path / "model", in_channels=9, seed=20)
    pipe = diffusers.StableDiffusionInpaintPipeline(
        vae=diffusers.AutoencoderKL.from_pretrained(folder / "vae"), text_encoder=transformers.CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=reference.tokenizer, unet=diffusers.UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    model = plait.PictureGenerator.from_pretrained(folder)
    theirs = run_reference(pipe, image=Image.fromarray(scene()), mask_image=Image.fromarray(half_mask()), strength=1.0, height=16, width=16,
                           num_inference_steps=6, generator=torch.Generator().manual_seed(6))
    compare(run_ours(model, image=scene(), mask=half_mask(), strength=1.0, num_inference_steps=6, seed=6), theirs)
    with pytest.raises(ValueError, match="in-painting"):
        model(PROMPT)


def test_tokenizer_files_give_the_same(folder, model, tmp_path, reference):
    """transformers' newer tokenizer.json in place of vocab.json and merges.txt."""
    other = tmp_path / "model"
    shutil.copytree(folder, other)
    shutil.rmtree(other / "tokenizer")
    reference.tokenizer.save_pretrained(other / "tokenizer")
    for name in ("vocab.json", "merges.txt"):
        (other / "tokenizer" / name).unlink(missing_ok=True)
    assert (other / "tokenizer/tokenizer.json").exists()
    text = "an APPLE,   on\ttables 42 <|endoftext|> 苹果 isn't " + "red " * 20
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    one = plait.PictureGenerator.from_pretrained(other).draw(text, noise=noise, num_inference_steps=2)
    two = model.draw(text, noise=noise, num_inference_steps=2)
    assert torch.equal(one[0], two[0])
    pipe = as_kind(reference, diffusers.StableDiffusionPipeline, "ddim")
    image = pipe(text, latents=noise, num_inference_steps=2, output_type="np").images[0]
    assert np.abs(np.asarray(two[0]).astype(float) - image * 255).max() <= 1.01


def test_prompts_have_the_references_tokens(model, reference):
    """Over a thousand lines: words of the vocabulary and of others, scripts, accents apart and joined, white space, marks."""
    draw = np.random.default_rng(1)
    pieces = ["red", "apples", "tables", "GREY", "isn't", "we'll", "I'D", "on", "42", "3.14", "é", "e\u0301", "ﬁ", "İstanbul", "straße", "ΣΑΣ", "苹果", "カタカナ",
              "हिन्दी", "العربية", "👍🏽", "…", "--", "!?", "(", ")", "_a", "<|endoftext|>", "<|startoftext|>", "<|x|>", "\u00a0", "\t", "\n", "  ", "\u200b",
              "\x00", "\ufeff", "½", "Ⅷ", "'", "''s", "don't'", "a'red"]
    lines = ["", " ", *pieces]
    for _ in range(1200):
        chosen = draw.choice(len(pieces), size=draw.integers(1, 9))
        lines.append(draw.choice(["", " "]).join(pieces[i] for i in chosen))
    expected = reference.tokenizer(lines, padding="max_length", truncation=True, max_length=16).input_ids
    for line, ids in zip(lines, expected):
        assert model.prompt_ids(line) == ids, repr(line)


def test_older_weights(folder, model, tmp_path):
    """Half precision, .bin files, and the autoencoder's attention under its first names."""
    other = tmp_path / "model"
    shutil.copytree(folder, other)
    state = load_file(other / "vae/diffusion_pytorch_model.safetensors")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in state.items():
        for new, old in older.items():
            if "mid_block.attentions" in name:
                name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = tensor[:, :, None, None] if ".query.weight" in name else tensor
    torch.save(renamed, other / "vae/diffusion_pytorch_model.bin")
    (other / "vae/diffusion_pytorch_model.safetensors").unlink()
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    again = plait.PictureGenerator.from_pretrained(other)
    assert torch.equal(again(PROMPT, noise=noise, num_inference_steps=2), model(PROMPT, noise=noise, num_inference_steps=2))
    unet = load_file(other / "unet/diffusion_pytorch_model.safetensors")
    (other / "unet/diffusion_pytorch_model.safetensors").unlink()
    save_file({name: tensor.half() for name, tensor in unet.items()}, other / "unet/diffusion_pytorch_model.fp16.safetensors")
    half = plait.PictureGenerator.from_pretrained(other)(PROMPT, noise=noise, num_inference_steps=2, guidance_scale=1.0)
    whole = model(PROMPT, noise=noise, num_inference_steps=2, guidance_scale=1.0)
    assert (half.int() - whole.int()).abs().max() <= 16


def test_steps_are_told_and_cancelled(model):
    told = []

    def stop(step, total, timestep, latents):
        told.append((step, total))
        return step < 3

    assert model.draw(PROMPT, on_step=stop, num_inference_steps=5) == []
    assert told == [(1, 5), (2, 5), (3, 5)]
    with pytest.raises(KeyError, match="from the callback"):
        model.draw(PROMPT, on_step=lambda *_: {}["from the callback"], num_inference_steps=2)
    picture = model(PROMPT, num_inference_steps=2)
    assert picture.dtype == torch.uint8 and picture.shape == (16, 16, 3) and model.size == 16
    names = {option["name"] for option in model.options()}
    assert {"num_inference_steps", "guidance_scale", "seed", "strength"} <= names
    assert model.sampler("euler")["beta_schedule"] == "scaled_linear"


@pytest.mark.parametrize("options,message", [
    (dict(num_inference_steps=0), "num_inference_steps"), (dict(num_inference_steps=2000), "1 to 1000 steps"), (dict(width=13), "multiples of 2"),
    (dict(sampler="heun"), "dpm\\+\\+"), (dict(mask=half_mask()), "image together with the mask"), (dict(steps=3), "steps"),
    (dict(image=scene(), strength=0.01), "strength"), (dict(noise=torch.zeros(1, 4, 3, 3)), "shape of the latents"),
    (dict(width=1 << 30, height=1 << 30), "16 million"), (dict(width=2048, height=2048, num_images_per_prompt=8), "16 million"), (dict(guidance_scale=float("nan")), "guidance_scale")])
def test_wrong_options(model, options, message):
    with pytest.raises((ValueError, plait.LimitError), match=message):
        model(PROMPT, **{"num_inference_steps": 2, **options})


def broken(folder, tmp_path, change):
    other = tmp_path / "model"
    shutil.copytree(folder, other)
    change(other)
    return other


def edit(path, **values):
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize("change,kind,message", [
    (lambda f: (f / "model_index.json").unlink(), FileNotFoundError, "model_index.json"),
    (lambda f: (f / "unet/config.json").unlink(), FileNotFoundError, "unet/config.json"),
    (lambda f: (f / "vae/diffusion_pytorch_model.safetensors").unlink(), FileNotFoundError, "diffusion_pytorch_model"),
    (lambda f: (f / "tokenizer/merges.txt").unlink(), FileNotFoundError, "vocab.json and merges.txt"),
    (lambda f: shutil.rmtree(f / "text_encoder"), FileNotFoundError, "text_encoder"),
    (lambda f: (f / "scheduler/scheduler_config.json").unlink(), FileNotFoundError, "scheduler_config.json"),
    (lambda f: edit(f / "unet/config.json", class_embed_type="timestep"), ValueError, "class_embed_type"),
    (lambda f: edit(f / "unet/config.json", block_out_channels=[8, 24]), ValueError, "expected \\[24"),
    (lambda f: edit(f / "unet/config.json", cross_attention_dim=12), ValueError, "attn2"),
    (lambda f: edit(f / "vae/config.json", latents_mean=[0.0]), ValueError, "latents_mean"),
    (lambda f: edit(f / "scheduler/scheduler_config.json", _class_name="LCMScheduler"), ValueError, "LCMScheduler"),
    (lambda f: edit(f / "tokenizer/tokenizer_config.json", pad_token="<|none|>"), ValueError, "padding token"),
    (lambda f: (f / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}"), ValueError, "safetensors"),
    (lambda f: (f / "model_index.json").write_text("[]"), ValueError, "unet"),
])
def test_wrong_folders(folder, tmp_path, change, kind, message):
    with pytest.raises(kind, match=message):
        plait.PictureGenerator.from_pretrained(broken(folder, tmp_path, change))


def test_command_line(folder, model, tmp_path):
    out = tmp_path / "apple.png"
    Image.fromarray(scene()).save(tmp_path / "in.png")
    Image.fromarray(half_mask()).save(tmp_path / "mask.png")

    command = pathlib.Path(plait.__file__).parent / "bin" / "plait"

    def run(*arguments):
        return subprocess.run([command, "draw", PROMPT, "--model", folder, *arguments], capture_output=True, text=True)

    done = run("-o", out, "--steps", "3", "--guidance", "5", "--scheduler", "dpm++", "--negative", NEGATIVE, "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == [str(out)] and json.loads(done.stdout)["steps"] == 3
    expected = model(PROMPT, negative_prompt=NEGATIVE, num_inference_steps=3, guidance_scale=5.0, sampler="dpm++", seed=7)
    assert np.array_equal(np.asarray(Image.open(out)), expected.numpy())
    done = run("-o", out, "--steps", "4", "--image", tmp_path / "in.png", "--mask", tmp_path / "mask.png", "--strength", "0.5", "-n", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "apple-1.png"), str(tmp_path / "apple-2.png")]
    for arguments, code, message in ((["-o", "x.gif"], 2, ".png"), (["--steps", "0"], 2, "num_inference_steps"),
                                     (["--image", tmp_path / "no.png"], 1, "no.png"), (["--scheduler", "heun"], 2, "dpm++")):
        done = run(*arguments)
        assert done.returncode == code and message in done.stderr, done.stderr


def test_example(folder, tmp_path):
    example = pathlib.Path(__file__).resolve().parents[2] / "examples/draw.py"
    done = subprocess.run([sys.executable, example, folder, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step ") == 5 and "step 5 of 20" in done.stdout
    whole, half = (np.asarray(Image.open(tmp_path / name)) for name in ("apple.png", "half.png"))
    assert whole.shape == half.shape == (16, 16, 3)


COMMAND = pathlib.Path(plait.__file__).parent / "bin" / "plait"


@pytest.fixture(scope="module")
def picture_recipe(text_encoder, tmp_path_factory):
    """Four pictures with texts in a .jsonl file, and a recipe of a few steps."""
    folder = tmp_path_factory.mktemp("recipe")
    rows = []
    for i, (name, colour) in enumerate({"red": (255, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 255), "grey": (99, 99, 99)}.items()):
        picture = np.full((20, 12, 3), 255, np.uint8)
        picture[4:16, 2:10] = colour
        Image.fromarray(picture).save(folder / f"{name}.png")
        rows.append({"id": name, "image": f"{name}.png", "text": f"a {name} box", "text_zh": "盒子" if i == 0 else None,
                     "keywords": f"{name}, box,  of one colour, thing number {i}"})
    (folder / "pictures.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    recipe = {"dataset": "pictures.jsonl", "size": 8, "text_encoder": str(text_encoder), "held_out": 0.3, "seed": 5,
              "unet": {"block_out_channels": [8, 8], "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                       "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": [2]},
              "schedule": {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "num_train_timesteps": 50},
              "training": {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "save_steps": 2}}
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    return folder / "recipe.json"


def train(*arguments):
    return subprocess.run([COMMAND, "train", *arguments], capture_output=True, text=True)


def test_training_writes_a_model_that_draws(picture_recipe, tmp_path):
    done = train(picture_recipe, "--output", tmp_path / "whole", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 6 and np.isfinite(result["train_loss"])
    model = plait.PictureGenerator.from_pretrained(tmp_path / "whole/model")
    picture = model("a red box", num_inference_steps=3)
    assert picture.shape == (8, 8, 3) and model.size == 8
    assert not torch.equal(picture, model("a blue box", num_inference_steps=3))
    assert model.draw("a red box", image=np.asarray(picture), mask=half_mask((8, 8)), num_inference_steps=3)
    listing = json.loads((tmp_path / "whole/model/prompts.json").read_text())
    assert [row["id"] for row in listing] == ["red", "green", "blue", "grey"]
    for row in listing:
        assert row["training"][0] == f"a {row['id']} box"
        keywords = {row["id"], "box", "of one colour"} | {f"thing number {listing.index(row)}"}
        assert set(row["held_out"]) <= keywords and keywords - set(row["held_out"]) <= set(row["training"])
        assert not set(row["held_out"]) & set(row["training"])
    assert listing[0]["training"][1] == "盒子"
    trained = {prompt for row in listing for prompt in row["training"]}
    held_out = {keyword for row in listing for keyword in row["held_out"]}
    assert held_out and not held_out & trained and not any(word in prompt.split(", ") for prompt in trained for word in held_out)

    # Stopped after some steps and resumed, it ends with the same weights: the checkpoint is of step 4.
    (tmp_path / "parts").mkdir()
    shutil.copytree(tmp_path / "whole/checkpoint-4", tmp_path / "parts/checkpoint-4")
    done = train(picture_recipe, "--output", tmp_path / "parts", "--resume", "auto")
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / part / "model/unet/diffusion_pytorch_model.safetensors") for part in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("change,message", [
    (dict(size=9999), "size"), (dict(unet={"block_out_channels": [8, 9]}), "one length"), (dict(text_encoder="no-such-encoder"), "no-such-encoder"),
    (dict(dataset="none.jsonl"), "none.jsonl"), (dict(dataset="no-such-data"), "emoji"), (dict(schedule={"beta_schedule": "x"}), "scaled_linear"),
    (dict(denoising={"ema": 1}), "ema"), (dict(surprise=1), "surprise"), (dict(training={"learning_rate": -1}), "learning_rate")])
def test_wrong_recipes(picture_recipe, tmp_path, change, message):
    recipe = json.loads(picture_recipe.read_text()) | change
    path = picture_recipe.with_name(f"{tmp_path.name}.json")
    path.write_text(json.dumps(recipe))
    done = train(path, "--output", tmp_path / "out")
    assert done.returncode in (1, 2) and message in done.stderr, done.stderr
