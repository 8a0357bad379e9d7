"""skorch: networks as scikit-learn's estimators, in a pipeline and a grid search."""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EpochScoring, LRScheduler
from skorch.helper import predefined_split
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs=4, hidden=10, outputs=3, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(hidden, outputs)

    def forward(self, X):
        return self.head(self.body(X))


X, y = load_iris(return_X_y=True)
X, y = X.astype(np.float32), y.astype(np.int64)

torch.manual_seed(0)
net = NeuralNetClassifier(
    Net, criterion=nn.CrossEntropyLoss, max_epochs=5, lr=0.1, iterator_train__shuffle=True,
    verbose=0, callbacks=[EpochScoring("accuracy", lower_is_better=False, name="acc")],
)  # fmt: skip
net.fit(X, y)
for row in net.history:
    print(f"{row['train_loss']:.4f} {row['valid_loss']:.4f} {row['valid_acc']:.4f}")
print(net.predict(X[::15]).tolist(), np.round(net.predict_proba(X[:2]), 4).tolist())
net.partial_fit(X, y)
print(f"{net.history[-1, 'train_loss']:.4f} {net.score(X, y):.4f}")
net.save_params(f_params="/dev/null")

torch.manual_seed(0)
pipe = Pipeline([("scale", StandardScaler()), ("net", NeuralNetClassifier(
    Net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=3, verbose=0,
    train_split=None, module__hidden=8,
))])  # fmt: skip
search = GridSearchCV(pipe, {"net__lr": [0.001, 0.05], "net__module__hidden": [4, 8]}, cv=2)
search.fit(X, y)
print(search.best_params_, f"{search.best_score_:.4f}")

torch.manual_seed(0)
Xd, yd = load_digits(return_X_y=True)
Xd, yd = Xd[:400].astype(np.float32) / 16, yd[:400].astype(np.float32)[:, None] / 9
valid = torch.utils.data.TensorDataset(torch.from_numpy(Xd[300:]), torch.from_numpy(yd[300:]))
regressor = NeuralNetRegressor(
    Net, module__inputs=64, module__outputs=1, max_epochs=3, lr=0.05, verbose=0,
    train_split=predefined_split(valid),
    callbacks=[LRScheduler(policy=torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)],
)  # fmt: skip
regressor.fit(Xd[:300], yd[:300])
for row in regressor.history:
    print(f"{row['train_loss']:.4f} {row['valid_loss']:.4f}")
