"""Low-rank adapters as the PEFT package writes them, beside the tiny Llama of published_decoders.py:
tests/golden/lora/<name>/ with adapter_config.json, adapter_model.safetensors and expected.safetensors (logits with the
adapter, and the merged weights)."""
import json
import shutil

import peft
import torch
import transformers
from common import FOLDER
from safetensors.torch import save_file

ids = torch.randint(0, 67, (2, 9), generator=torch.Generator().manual_seed(1))


def folder(name, seed, **options):
    path = FOLDER / "lora" / name
    shutil.rmtree(path, ignore_errors=True)
    base = transformers.LlamaForCausalLM.from_pretrained(FOLDER / "published_decoders" / "llama", dtype=torch.float32)
    model = peft.get_peft_model(base, peft.LoraConfig(lora_dropout=0.1, **options)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        logits = model(input_ids=ids).logits
        model.save_pretrained(path)
        merged = model.merge_and_unload().state_dict()
    (path / "README.md").unlink(missing_ok=True)
    config = json.loads((path / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "llama"
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (path / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    changed = {f"merged.{key}": merged[key].contiguous() for key in ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight")}
    save_file({"inputs.input_ids": ids, "outputs.logits": logits, **changed}, path / "expected.safetensors",
              metadata={"reference": f"peft {peft.__version__}, transformers {transformers.__version__}"})
    print(name, sum(file.stat().st_size for file in path.iterdir()) // 1024, "KiB")


folder("plain", 1, r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])
folder("rank_stabilized", 2, r=3, lora_alpha=6, use_rslora=True, target_modules=r".*\.(q_proj|mlp\.(down|up)_proj)")
