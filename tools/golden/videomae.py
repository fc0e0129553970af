"""Golden files of VideoMAE's encoder, from transformers: with its classifier, and without mean pooling."""
import torch
import transformers
from common import published_state, randomise, rename, write
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEModel

sizes = dict(image_size=8, patch_size=4, num_frames=4, tubelet_size=2, hidden_size=16, num_hidden_layers=2,
             num_attention_heads=2, intermediate_size=24)
pixels = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
reference = f"transformers {transformers.__version__}"
names = [(r"^videomae\.", ""), (r"attention\.q_bias$", "attention.query.bias"), (r"attention\.v_bias$", "attention.value.bias")]


def golden(name, model, config):
    model = randomise(model)
    with torch.no_grad():
        body = getattr(model, "videomae", model)(pixels).last_hidden_state
        outputs = {"last_hidden_state": body}
        if config.get("num_classes"):
            outputs["logits"] = model(pixels).logits
    write("videomae", sizes | config, rename(published_state(model), names), {"pixel_values": pixels}, outputs, reference, name)


golden("videomae", VideoMAEForVideoClassification(VideoMAEConfig(**sizes, num_labels=3)), {"num_classes": 3})
golden("videomae@first", VideoMAEModel(VideoMAEConfig(**sizes, use_mean_pooling=False, qv_bias=False)),
       {"use_mean_pooling": False, "qv_bias": False})
