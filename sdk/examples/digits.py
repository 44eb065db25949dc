"""Train a classifier of handwritten digits with a checkpoint per epoch, and predict with the best one.

fabric deploy digits.py, then:
  fabric invoke digits/train --json '{"epochs": 5}'
  fabric invoke digits/predict --json '{"index": 3}'

The containers have no network: checkpoints travel over the runner's socket.
"""

import json
import os
import pickle
import tempfile
from typing import Any, Dict, List, Optional

import fabric_sdk as fabric

image = fabric.Image.python("3.11").pip_install("scikit-learn==1.9.1")
app = fabric.App("digits", image=image, network="none", memory=1024)

SERIES = "digits"
_models: Dict[int, Any] = {}


def _dataset() -> Any:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    return train_test_split(digits.data / 16.0, digits.target, test_size=0.25, random_state=0, stratify=digits.target)


def _save(folder: str, model: Any, epoch: int) -> None:
    with open(os.path.join(folder, "model.pkl"), "wb") as file:
        pickle.dump(model, file)
    with open(os.path.join(folder, "progress.json"), "w") as file:
        json.dump({"epoch": epoch}, file)


def _open(folder: str) -> Any:
    with open(os.path.join(folder, "model.pkl"), "rb") as file:
        return pickle.load(file)


@app.function(timeout=600, retries=2)
def train(epochs: int = 5) -> Dict[str, Any]:
    """Train for so many epochs; a retry goes on after the last epoch that was saved."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss

    fabric.train.series(SERIES, resume=False)
    x, x_test, y, y_test = _dataset()
    model, done, metrics, step = SGDClassifier(loss="log_loss", random_state=0), 0, {}, None

    saved = fabric.train.get_checkpoint()
    if saved is not None:
        with saved.as_directory() as folder:
            model = _open(folder)
            with open(os.path.join(folder, "progress.json")) as file:
                done = json.load(file)["epoch"]
        metrics, step = dict(saved.metrics), saved.step
        print(f"resuming after epoch {done}")

    for epoch in range(done + 1, epochs + 1):
        model.partial_fit(x, y, classes=range(10))
        metrics = {
            "accuracy": float(model.score(x_test, y_test)),
            "loss": float(log_loss(y_test, model.predict_proba(x_test), labels=range(10))),
            "epoch": epoch,
        }
        with tempfile.TemporaryDirectory() as folder:
            _save(folder, model, epoch)
            step = fabric.train.report(metrics, fabric.Checkpoint.from_directory(folder))
        print(f"epoch {epoch}/{epochs}: accuracy {metrics['accuracy']:.3f}, loss {metrics['loss']:.3f}")
    return {"series": SERIES, "step": step, "metrics": metrics}


@app.function(scaledown_window=120)
def predict(pixels: Optional[List[List[float]]] = None, index: Optional[int] = None) -> Dict[str, Any]:
    """Tell the digit of an 8x8 image of values 0 to 16, or of the image at `index` of the data set."""
    if (pixels is None) == (index is None):
        raise ValueError("give either pixels (8 rows of 8 values from 0 to 16) or index")
    if pixels is None:
        from sklearn.datasets import load_digits

        row = load_digits().data[index] / 16.0
    else:
        row = [value / 16.0 for line in pixels for value in line]
    checkpoint = fabric.Checkpoint.load(SERIES, best="accuracy")
    model = _models.get(checkpoint.step)
    if model is None:
        _models.clear()
        model = _models[checkpoint.step] = _open(checkpoint.path)
    chances = model.predict_proba([row])[0]
    return {
        "digit": int(model.classes_[chances.argmax()]),
        "confidence": float(chances.max()),
        "checkpoint": checkpoint.step,
    }


@app.local_entrypoint()
def main(epochs: int = 5, index: int = 3) -> None:
    """fabric run digits.py --epochs 3"""
    print(train.remote(epochs=epochs))
    print(predict.remote(index=index))
