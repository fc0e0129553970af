"""Training with the names that users of such trainers know."""
import dataclasses
import sys
from typing import Any, Callable, Optional, Union

from .data import MultimodalDataset
from .model import MultimodalModel

Callback = Callable[[str, float, float, str], Any]


@dataclasses.dataclass
class TrainingArguments:
    """How to train; the defaults are those for fine-tuning. Names that are not obvious:

    output_dir: folder of log.jsonl and the checkpoints (empty: nothing is written); max_steps: 0 = as num_train_epochs
    says; lr_scheduler: "cosine", "linear" or "constant"; modality_dropout: probability of hiding a stream of an item, one
    number or one per stream; modality_ratio: balanced sampling, how often each stream is shown against the others, whatever
    the items have ({"image": 1, "speech": 0.5}, or "default": 1, and 0.5 for sound); eval_steps and save_steps: 0 = after each epoch; early_stopping_patience: 0 = never;
    resume_from_checkpoint: True (the newest of output_dir) or a checkpoint's folder; damaged_copies: damaged variants of
    every training item; damage: probability that a stream of a training item is one of them.
    """

    output_dir: str = ""
    learning_rate: float = 1e-5
    num_train_epochs: float = 3
    max_steps: int = 0
    per_device_train_batch_size: int = 32
    gradient_accumulation_steps: int = 1
    max_grad_norm: float = 1.0
    warmup_ratio: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.01
    lr_scheduler: str = "cosine"
    seed: int = 42
    bf16: bool = False
    modality_dropout: Union[float, dict[str, float]] = 0.0
    modality_ratio: Union[None, str, dict[str, float]] = None
    logging_steps: int = 50
    eval_steps: int = 0
    save_steps: int = 0
    save_total_limit: int = 2
    early_stopping_patience: int = 0
    metric_for_best_model: str = "loss"
    resume_from_checkpoint: Union[bool, str, None] = None
    damaged_copies: int = 1
    damage: float = 0.3
    disable_tqdm: bool = False


@dataclasses.dataclass
class AdamW:
    """The optimiser's settings, for Trainer(model, optimizer=AdamW(lr=5e-5))."""

    lr: float = 1e-5
    weight_decay: float = 0.01


class _Bar:
    def __init__(self, off: bool):
        self.on = not off and sys.stderr.isatty()
        self.stage = ""

    def __call__(self, stage: str, done: float, total: float, note: str) -> None:
        if not self.on:
            return
        if stage != self.stage and self.stage:
            sys.stderr.write("\n")
        self.stage = stage
        share = done / total if total else 0
        sys.stderr.write(f"\r\033[2K{stage:10s} {'━' * int(24 * share):24s} {100 * share:3.0f} %  {note}")
        sys.stderr.flush()

    def close(self) -> None:
        if self.stage:
            sys.stderr.write("\n")


class Trainer:
    """Trainer(model, args=TrainingArguments(...), train_dataset=..., eval_dataset=...).train().

    Trains what is not frozen on the classification tasks' labels (and aligns the streams for retrieval tasks), with
    damaged copies and modality dropout as the arguments say, then calibrates on eval_dataset.
    """

    def __init__(self, model: MultimodalModel, args: Optional[TrainingArguments] = None,
                 train_dataset: Optional[MultimodalDataset] = None, eval_dataset: Optional[MultimodalDataset] = None,
                 optimizer: Optional[AdamW] = None, distributed_strategy: Optional[str] = None):
        if distributed_strategy not in (None, "none"):
            raise ValueError("distributed_strategy: this version trains in one process; leave it out")
        self.model = model
        self.args = args or TrainingArguments()
        if optimizer is not None:
            self.args = dataclasses.replace(self.args, learning_rate=optimizer.lr, weight_decay=optimizer.weight_decay)
        self.train_dataset = train_dataset
        self.eval_dataset = eval_dataset

    def train(self, epochs: Optional[float] = None, batch_size: Optional[int] = None,
              callback: Optional[Callback] = None) -> dict[str, Any]:
        """→ {"steps", "train_loss", "metrics", ...}.

        callback(stage, done, total, note) hears of the progress ("features", then "train") instead of the bar; an
        exception from it, or Ctrl-C, stops between steps.
        """
        if self.train_dataset is None or self.eval_dataset is None:
            raise ValueError("expected train_dataset and eval_dataset: the second one stops early and calibrates")
        settings = dataclasses.asdict(self.args)
        output = settings.pop("output_dir")
        resume = settings.pop("resume_from_checkpoint")
        copies, damage, quiet = (settings.pop(k) for k in ("damaged_copies", "damage", "disable_tqdm"))
        seed = settings.pop("seed")
        if epochs is not None:
            settings["num_train_epochs"] = epochs
        if batch_size is not None:
            settings["per_device_train_batch_size"] = batch_size
        recipe = {"training": settings, "seed": seed, "damaged_copies": copies, "damage": damage}
        bar = _Bar(quiet or callback is not None)
        try:
            return self.model._handle.train_on(list(self.train_dataset), list(self.eval_dataset), recipe, output,
                                               "none" if resume is None else "auto" if resume is True else str(resume), callback or bar)
        finally:
            bar.close()
