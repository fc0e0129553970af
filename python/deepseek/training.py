from plait.training import Trainer as DeepSeekTrainer
from plait.training import TrainingArguments

__all__ = ["DeepSeekTrainer", "TrainingArguments"]
