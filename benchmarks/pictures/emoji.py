"""Which picture does a drawing show? Drawings of a model that `plait train recipes/emoji_pictures.json` made, judged by
encoders that were not trained with it.

    plait train recipes/emoji_pictures.json --output out/emoji
    python benchmarks/pictures/emoji.py out/emoji/model [--prompts 200] [--steps 25]

Draws names that were trained and keywords that are in no prompt (English and Chinese), and asks the judge (plait-base's
picture encoder beside EfficientNet-Lite0, both frozen) for the five nearest of all training pictures: a keyword is right with
any of the pictures that have it. Writes emoji.json, emoji.md and emoji.png: prompt by prompt the drawing, the nearest training
picture, and a picture that was meant."""
import argparse
import json
import pathlib
import random

import numpy as np
import torch
from PIL import Image, ImageDraw

import plait

HERE = pathlib.Path(__file__).resolve().parent
JUDGES = ("plait-base:image", "efficientnet-lite0")
CELL = 64


def chinese(text):
    return any("\u4e00" <= c <= "\u9fff" for c in text)


class Judge:
    """Unit vectors of pictures: the judges' features side by side, each of length one."""

    def __init__(self):
        self.encoders = [plait.AutoModel.from_pretrained(name) for name in JUDGES]

    def __call__(self, pictures, batch=32):
        rows = []
        for begin in range(0, len(pictures), batch):
            part = pictures[begin:begin + batch]
            with torch.no_grad():
                features = [torch.nn.functional.normalize(encoder(part)["pooled"].float(), dim=-1) for encoder in self.encoders]
            rows.append(torch.cat(features, -1) / len(features) ** 0.5)
        return torch.cat(rows)


def load(path, size):
    """A training picture as the generator saw it."""
    picture = Image.open(path).convert("RGBA")
    side = max(picture.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return torch.from_numpy(np.array(square.convert("RGB").resize((size, size), Image.BICUBIC)))


def collect(listing, kind):
    """Prompt → the pictures that have it."""
    meant = {}
    for index, row in enumerate(listing):
        for prompt in row[kind][:2] if kind == "training" else row[kind]:
            meant.setdefault(prompt, []).append(index)
    return meant


def grid(rows, path):
    sheet = Image.new("RGB", (3 * CELL * 4, CELL * ((len(rows) + 3) // 4)), "white")
    for i, pictures in enumerate(rows):
        for j, picture in enumerate(pictures):
            at = ((i % 4) * 3 * CELL + j * CELL, i // 4 * CELL)
            sheet.paste(Image.fromarray(picture.numpy()).resize((CELL - 4, CELL - 4)), at)
        ImageDraw.Draw(sheet).line([((i % 4 + 1) * 3 * CELL - 3, i // 4 * CELL), ((i % 4 + 1) * 3 * CELL - 3, (i // 4 + 1) * CELL)], fill="grey")
    sheet.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--prompts", type=int, default=200, help="of each kind and language")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sampler", default="dpm++")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=pathlib.Path, default=HERE)
    arguments = parser.parse_args()
    generator = plait.PictureGenerator.from_pretrained(arguments.model, device=arguments.device)
    listing = json.loads((arguments.model / "prompts.json").read_text(encoding="utf-8"))
    pictures = [load(row["image"], generator.size) for row in listing]
    judge = Judge()
    known = judge(pictures)
    draw = random.Random(arguments.seed)
    figures, shown = {}, []
    for kind in ("training", "held_out"):
        meant = collect(listing, kind)
        trained = {prompt for row in listing for prompt in row["training"]}
        for language in ("en", "zh"):
            prompts = sorted(p for p in meant if chinese(p) == (language == "zh") and (kind == "training" or p not in trained))
            prompts = draw.sample(prompts, min(arguments.prompts, len(prompts)))
            hits = {1: 0, 5: 0}
            for number, prompt in enumerate(prompts):
                drawn = generator(prompt, seed=arguments.seed + number, num_inference_steps=arguments.steps, sampler=arguments.sampler,
                                  guidance_scale=arguments.guidance)
                nearest = (known @ judge([drawn])[0]).topk(5).indices.tolist()
                for k in hits:
                    hits[k] += any(index in meant[prompt] for index in nearest[:k])
                if number < 12:
                    shown.append((drawn, pictures[nearest[0]], pictures[meant[prompt][0]]))
                print(f"\r{kind} {language}: {number + 1} of {len(prompts)}, top-5 {hits[5] / (number + 1):.2f}", end="", flush=True)
            print()
            figures[f"{kind}/{language}"] = {"prompts": len(prompts)} | {f"top-{k}": hits[k] / max(len(prompts), 1) for k in hits}
    settings = {name: getattr(arguments, name) for name in ("prompts", "steps", "guidance", "sampler", "seed")}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "emoji.json").write_text(json.dumps({"settings": settings, "pictures": len(pictures), "judges": JUDGES, "figures": figures},
                                                            indent=1) + "\n", encoding="utf-8")
    grid(shown, arguments.output / "emoji.png")
    lines = ["# Drawings of emoji, judged by retrieval", "", f"Made by `benchmarks/pictures/emoji.py` ({settings}); {len(pictures)} pictures to choose from.",
             "", "| prompts | number | top-1 % | top-5 % |", "|---|---|---|---|"]
    for name, row in figures.items():
        lines.append(f"| {name} | {row['prompts']} | {100 * row['top-1']:.1f} | {100 * row['top-5']:.1f} |")
    lines += ["", "![drawing, nearest training picture, a picture that was meant](emoji.png)"]
    (arguments.output / "emoji.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
