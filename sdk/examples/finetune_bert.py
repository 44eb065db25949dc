"""Fine-tune BERT to tell good reviews from bad ones, and serve the best checkpoint.

fabric deploy finetune_bert.py, then:
  fabric invoke finetune_bert/train --json '{"epochs": 4}'
  fabric invoke finetune_bert/classify --json '{"text": "a wonderful film, we loved it"}'
  fabric checkpoint tag bert-imdb:3 production      classify serves this one from then on

`fabric run finetune_bert.py --epochs 1` and `python finetune_bert.py` train by TorchTrainer.fit() from outside.

Where a hub answers it trains bert-base-uncased on IMDB, else a small BERT from random weights on the reviews beside
this file.
"""

import json
import os
import sys
import tempfile
import urllib.request
from collections import Counter
from typing import Any, Dict, List, Tuple

import fabric_sdk as fabric
from fabric_sdk import train as training
from fabric_sdk.train import Checkpoint, CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from fabric_sdk.train.torch import TorchTrainer, prepare_data_loader, prepare_model

image = fabric.Image.python(f"3.{sys.version_info[1]}").pip_install("torch", "transformers", "datasets")
app = fabric.App("finetune_bert", image=image, memory=(2048, 16384))

SERIES = "bert-imdb"
#: Pieces of words, of every review.
WORDS = 128
HUB = "https://huggingface.co"
Reviews = Tuple[List[str], List[int]]
_served: Dict[str, Any] = {}


def _hub_answers() -> bool:
    """One answer for all ranks: they have to train the same model."""
    from torch import distributed

    answers = [False]
    if training.get_context().get_world_rank() == 0:
        try:
            url = os.environ.get("HF_ENDPOINT", HUB) + "/bert-base-uncased/resolve/main/config.json"
            with urllib.request.urlopen(url, timeout=5) as reply:
                answers = [reply.status == 200]
        except OSError as error:
            print(f"no hub answers ({error}): training a small BERT on the reviews beside this file")
    distributed.broadcast_object_list(answers)
    return answers[0]


def _from_hub(rows: int) -> Tuple[Reviews, Reviews, Any, Any]:
    from datasets import load_dataset
    from transformers import AutoTokenizer, BertForSequenceClassification

    parts = [load_dataset("imdb", split=name).shuffle(seed=0).select(range(rows)) for name in ("train", "test")]
    learn, test = [(part["text"], part["label"]) for part in parts]
    model = BertForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=2)
    return learn, test, AutoTokenizer.from_pretrained("bert-base-uncased"), model


def _from_here() -> Tuple[Reviews, Reviews, Any, Any]:
    from transformers import BertConfig, BertForSequenceClassification

    rows = list(training.get_dataset_shard("reviews").iter_rows())
    reviews = [[(row["text"], row["label"]) for row in rows if (row["split"] == name)] for name in ("train", "test")]
    learn, test = [([text for text, _ in part], [label for _, label in part]) for part in reviews]
    tokenizer = _tokenizer(learn[0])
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=WORDS,
        num_labels=2,
    )
    return learn, test, tokenizer, BertForSequenceClassification(config)


def _tokenizer(texts: List[str]) -> Any:
    """WordPiece with the words of the texts, and their letters for words that are none of them."""
    from transformers import AutoTokenizer

    words = Counter(word for text in texts for word in text.lower().replace(",", " , ").replace(".", " . ").split())
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary += [word for word in sorted(words) if len(word) > 1]
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "vocab.txt"), "w") as file:
            file.write("\n".join(vocabulary) + "\n")
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump({"model_type": "bert"}, file)
        return AutoTokenizer.from_pretrained(folder)


def _loader(tokenizer: Any, reviews: Reviews, batch_size: int, shuffle: bool) -> Any:
    from torch import tensor
    from torch.utils.data import DataLoader, TensorDataset

    texts, labels = reviews
    told = tokenizer(list(texts), padding=True, truncation=True, max_length=WORDS, return_tensors="pt")
    dataset = TensorDataset(told["input_ids"], told["attention_mask"], tensor(list(labels)))
    return prepare_data_loader(DataLoader(dataset, batch_size=batch_size, shuffle=shuffle))


def _evaluate(model: Any, loader: Any) -> float:
    """Accuracy over the parts of all ranks."""
    import torch

    right = torch.zeros(2)
    model.eval()
    with torch.no_grad():
        for ids, mask, labels in loader:
            chosen = model(input_ids=ids, attention_mask=mask).logits.argmax(dim=1)
            right += torch.tensor([float((chosen == labels).sum()), float(len(labels))])
    right = right.to(ids.device)
    torch.distributed.all_reduce(right)
    return float(right[0] / right[1])


def train_loop(config: Dict[str, Any]) -> None:
    """Runs on every rank; a failed training goes on after the last epoch that was saved."""
    import torch

    torch.manual_seed(config["seed"])
    learn, test, tokenizer, model = _from_hub(config["rows"]) if _hub_answers() else _from_here()
    done, state = 0, None
    saved = training.get_checkpoint()
    if saved:
        with saved.as_directory() as folder:
            model = type(model).from_pretrained(folder)
            state = torch.load(os.path.join(folder, "training.pt"), map_location="cpu", weights_only=True)
        done = state["epoch"]
        print(f"resuming after epoch {done}")
    model = prepare_model(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    if state:
        optimizer.load_state_dict(state["optimizer"])
    loader = _loader(tokenizer, learn, config["batch_size"], shuffle=True)
    tests = _loader(tokenizer, test, config["batch_size"], shuffle=False)

    for epoch in range(done + 1, config["epochs"] + 1):
        if training.get_context().get_world_size() > 1:
            loader.sampler.set_epoch(epoch)
        model.train()
        total = 0.0
        for ids, mask, labels in loader:
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        metrics = {"epoch": epoch, "loss": total / len(loader), "accuracy": _evaluate(model, tests)}
        print(f"epoch {epoch}: loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.3f}")
        _report(metrics, model, tokenizer, optimizer)


def _report(metrics: Dict[str, Any], model: Any, tokenizer: Any, optimizer: Any) -> None:
    """All ranks report; the first one has the files."""
    import torch

    if training.get_context().get_world_rank() > 0:
        training.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        getattr(model, "module", model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        state = {"epoch": metrics["epoch"], "optimizer": optimizer.state_dict()}
        torch.save(state, os.path.join(folder, "training.pt"))
        training.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def trainer(epochs: int, workers: int = 1, use_gpu: bool = False) -> TorchTrainer:
    return TorchTrainer(
        train_loop,
        train_loop_config={"epochs": epochs, "lr": 5e-4, "batch_size": 16, "rows": 2000, "seed": 0},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name=SERIES,
            failure_config=FailureConfig(max_failures=2),
            checkpoint_config=CheckpointConfig(checkpoint_score_attribute="accuracy"),
        ),
        datasets={"reviews": "finetune_bert_reviews.csv"},
        dataset_config=DataConfig(datasets_to_split=[]),
    )


@app.function(timeout=86_400, memory=(4096, 65_536))
def train(epochs: int = 4) -> Dict[str, Any]:
    """Train inside this function."""
    return dict(trainer(epochs).fit().metrics or {})


def _promoted() -> Checkpoint:
    """Looked up anew every few seconds, without its files: a container that is warm notices another one."""
    try:
        return Checkpoint.find(f"{SERIES}:production", max_age=5)
    except fabric.NotFoundError:
        return Checkpoint.find(SERIES, best="accuracy", max_age=5)


@app.function(scaledown_window=300)
def classify(text: str) -> Dict[str, Any]:
    """Tell whether a review is good, by the checkpoint that is tagged production, or else by the best one."""
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    checkpoint = _promoted()
    if _served.get("checkpoint") != checkpoint.step:
        model = BertForSequenceClassification.from_pretrained(checkpoint.path).eval()
        _served.update(
            model=model, tokenizer=AutoTokenizer.from_pretrained(checkpoint.path), checkpoint=checkpoint.step
        )
    told = _served["tokenizer"](text, truncation=True, max_length=WORDS, return_tensors="pt")
    with torch.no_grad():
        chances = _served["model"](input_ids=told["input_ids"], attention_mask=told["attention_mask"]).logits.softmax(1)
    good = float(chances[0, 1])
    return {"good": good > 0.5, "confidence": max(good, 1 - good), "checkpoint": _served["checkpoint"]}


@app.local_entrypoint()
def main(epochs: int = 4, workers: int = 1, use_gpu: bool = False) -> None:
    """fabric run finetune_bert.py --epochs 1"""
    result = trainer(epochs, workers, use_gpu).fit()
    print(json.dumps(dict(result.metrics or {})))


if __name__ == "__main__":
    main()
