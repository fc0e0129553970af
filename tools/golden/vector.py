"""Golden files of the vector encoder: scikit-learn's StandardScaler. vector: rows that it transforms;
standard_scaler: the rows that it was fitted on and what it learned."""
import numpy as np
import sklearn
import torch
from common import write
from sklearn.preprocessing import StandardScaler

random = np.random.default_rng(0)
scales, offsets = np.array([1.0, 0.01, 30.0, 1.0, 4.0]), np.array([0.0, 0.3, -5.0, 2.0, 7.0])
rows = (random.normal(size=(50, 5)) * scales + offsets).astype(np.float32)
rows[:, 3] = 2.25  # Does not vary.
rows[::7, 4] = np.nan
scaler = StandardScaler().fit(rows.astype(np.float64))
values = (random.normal(size=(4, 5)) * scales + offsets).astype(np.float32)
values[1, 2] = values[3, 0] = np.nan
pooled = torch.from_numpy(np.nan_to_num(scaler.transform(values.astype(np.float64)), nan=0.0)).float()
weights = {"mean": torch.from_numpy(scaler.mean_).float(), "deviation": torch.from_numpy(scaler.scale_).float()}
reference = f"scikit-learn {sklearn.__version__} StandardScaler"
config = {"features": 5}
write("vector", config, weights, {"values": torch.from_numpy(values)},
      {"pooled": pooled, "last_hidden_state": pooled[:, None]}, reference)
write("vector", config, weights, {"rows": torch.from_numpy(rows)}, {}, reference, name="standard_scaler")
