"""Golden files of the task heads: torch.nn modules in the same order."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from common import randomise, write

REFERENCE = f"torch {torch.__version__.split('+')[0]}"
D = 8
generator = torch.Generator().manual_seed(4)
features = torch.randn(3, D, generator=generator)


def mlp(last):
    net = nn.Module()
    net.norm, net.hidden, net.output = nn.LayerNorm(D), nn.Linear(D, 6), nn.Linear(6, last)
    return randomise(net)


with torch.no_grad():
    net = mlp(5)
    logits = net.output(F.gelu(net.hidden(net.norm(features))))
    write("classification", dict(width=D, classes=5, hidden=6, dropout=0.0), net.state_dict(), {"features": features},
          {"logits": logits}, REFERENCE)

    net = mlp(4)
    mean, log_variance = net.output(F.gelu(net.hidden(net.norm(features)))).split(2, 1)
    write("regression", dict(width=D, outputs=2, hidden=6, dropout=0.0), net.state_dict(), {"features": features},
          {"mean": mean, "log_variance": log_variance.clamp(-10, 10)}, REFERENCE)

    net = nn.Module()
    net.norm, net.output = nn.LayerNorm(D), nn.Linear(D, 6, bias=False)
    randomise(net)
    net.logit_scale, net.logit_bias = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(-7.0))
    write("retrieval", dict(width=D, embedding=6, objective="sigmoid"), net.state_dict(), {"features": features},
          {"embedding": F.normalize(net.output(net.norm(features)), dim=1), "logit_scale": net.logit_scale.expand(3),
           "logit_bias": net.logit_bias.expand(3)}, REFERENCE)

    net = mlp(4)
    write("multi_label", dict(width=D, classes=4, hidden=6, dropout=0.0), net.state_dict(), {"features": features},
          {"label_logits": net.output(F.gelu(net.hidden(net.norm(features))))}, REFERENCE)
