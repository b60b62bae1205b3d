"""Configurations of a training: values from YAML and command lines, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yolokkn.cli.train import make_config
from yolokkn.configuration import dump_yaml
from yolokkn.errors import ConfigurationError, DataError
from yolokkn.training.config import STAGES, TrainConfig, read_config, settings
from yolokkn.training.run_folder import make_run_folder, read_metrics


def test_text_and_values_are_the_same():
    text = read_config({
        "imgsz": "384x640", "lr0": "1e-3", "epochs": "7", "ema": "no", "classes": "person,car", "workers": "3",
        "lr-scale": "backbone:0.1,neck:0.5", "loss_options": "box:5,top_k:13", "time": "2.5", "mosaic": "0.5",
        "flip_ud": "0.25", "freeze": "stem",
    })  # fmt: skip
    values = read_config({
        "model": {"imgsz": [384, 640], "freeze": ["stem"]},
        "optimizer": {"lr0": 0.001, "lr_scale": {"backbone": 0.1, "neck": 0.5}},
        "schedule": {"epochs": 7, "time": 2.5}, "ema": {"ema": False}, "data": {"classes": ["person", "car"], "workers": 3},
        "loss": {"loss_options": {"box": 5, "top_k": 13}}, "augment": {"mosaic": 0.5, "flip_ud": 0.25},
    })  # fmt: skip
    assert text == values
    assert text.model.imgsz == (384, 640)
    assert text.loss.options == {"box": 5, "top_k": 13}
    assert read_config({"imgsz": "96"}).model.imgsz == (96, 96) == read_config({"imgsz": 96}).model.imgsz


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("task=segmnt", "task must be one of auto, detect"),
        ("epochs=abc", "epochs must be an integer"),
        ("loss=yolofve", "did you mean yolofive"),
        ("model=yolovkknn-s", "model must be a checkpoint"),  # before the data is looked at
        ("imgsz=100", "imgsz"),
    ],
)
def test_wrong_values_are_wrong_usage(given, said, capsys, tmp_path):
    from yolokkn.cli import main

    assert main(["train", f"data={tmp_path / 'absent'}", f"project={tmp_path}", given]) == 2
    assert said in capsys.readouterr().err


def test_what_is_saved_is_read_back():
    config = read_config(
        {"imgsz": "96x128", "classes": "a,b", "lr_scale": "head:2", "reduction": "sum", "loss": "yolofive"}
    )
    assert read_config(json.loads(json.dumps(config.to_dict()))) == config


def test_a_file_and_a_command_line_are_joined(tmp_path):
    file = tmp_path / "street.yaml"
    file.write_text("data: street\nepochs: 9\noptimizer:\n  lr0: 0.02\n")
    config = make_config(str(file), {"epochs": "3"})
    assert (config.data.data, config.schedule.epochs, config.optimizer.lr0) == ("street", 3, 0.02)
    file.write_text("data: street\nepochz: 9\n")
    with pytest.raises(ConfigurationError, match=r"street.yaml:2: unknown key 'epochz'; did you mean epochs\?"):
        make_config(str(file), {})


def test_a_resumed_run_keeps_its_configuration(tmp_path):
    config = read_config({"data": "street", "lr0": 0.03, "imgsz": 96})
    (tmp_path / "config.yaml").write_text(dump_yaml(config.to_dict()))
    (tmp_path / "last.safetensors").write_bytes(b"")
    resumed = make_config(None, {"resume": str(tmp_path), "epochs": "200"})
    assert (resumed.optimizer.lr0, resumed.schedule.epochs, resumed.model.imgsz) == (0.03, 200, (96, 96))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": "1"}, r"unknown key 'lr'; did you mean lr0\?"),
        ({"batchsize": 3}, "unknown key 'batchsize'"),
        ({"epochs": "many"}, "epochs must be an integer, got 'many'"),
        ({"epochs": "0"}, "epochs must be 1 or more, got 0"),
        ({"lr0": "nan"}, "lr0 must be a number"),
        ({"lr0": "-1"}, "lr0 must be 0.0 or more"),
        ({"ema_decay": "1"}, "ema_decay must be within 0.0 and 0.999999"),
        ({"loss": "yolofife"}, r"loss must be one of .*; did you mean yolofive\?"),
        ({"optimizer": "adam"}, r"optimizer must be one of adamw, sgd, muon, got 'adam'; did you mean adamw\?"),
        ({"imgsz": "axb"}, "imgsz must be a list"),
        ({"imgsz": "1x2x3"}, "imgsz must be a list of 2"),
        ({"lr_scale": "backbone=0.1"}, "lr_scale must be keys with values"),
        ({"amp": "yes"}, "amp must be one of auto, off, bf16, fp16"),
        ({"tensorboard": "maybe"}, "tensorboard must be true or false"),
        ({"model": {"lr0": 1}}, "lr0 belongs to optimizer, not to model"),
        ({"lr0": 1, "schedule": {"epochs": 2}, "epochs": 3}, "epochs is given twice"),
        ({"mosaic": "2"}, "mosaic must be within 0 and 1"),
        ({"loss_options": "top_kk:3"}, r"an option of task_aligned .* got 'top_kk'; did you mean top_k\?"),
        ({"loss_options": "box:-3"}, "box must be a finite number of 0 or more"),
        ({"weight_decay": "-1"}, "weight_decay must be 0.0 or more"),
    ],
)
def test_refusals_name_the_key(given, message):
    with pytest.raises(ConfigurationError, match=message):
        read_config(given)


def test_every_key_has_a_line_of_help_and_one_home():
    names = settings()
    assert {stage for stage, _, _ in names.values()} == set(STAGES)
    for name, (stage, field, _) in names.items():
        assert stage == "augment" or field.metadata["help"], name
    assert TrainConfig().to_dict().keys() == STAGES.keys()


def test_a_run_never_writes_over_another(tmp_path):
    folders = [make_run_folder(tmp_path / "runs", "street") for _ in range(3)]
    assert [f.name for f in folders] == ["street", "street2", "street3"]
    for wrong in ("", "..", "a/b", "a\\b", "/x"):
        with pytest.raises(ValueError, match="name: must be the plain name of a folder"):
            make_run_folder(tmp_path, wrong)


def test_what_is_not_said_follows_from_the_optimizer():
    adamw, sgd, muon = (read_config({"optimizer": name}).optimizer for name in ("adamw", "sgd", "muon"))
    assert read_config({}).optimizer == adamw
    assert (adamw.base_lr, adamw.base_momentum, adamw.base_decay) == (0.001, 0.9, 0.01)
    assert (sgd.base_lr, sgd.base_momentum, sgd.base_decay) == (0.01, 0.937, 5e-4)
    assert (muon.base_lr, muon.base_momentum, muon.base_decay) == (0.001, 0.95, 0.01)
    said = read_config({"optimizer": "sgd", "momentum": "0", "weight_decay": "0"}).optimizer
    assert (said.base_momentum, said.base_decay) == (0.0, 0.0)
    assert read_config({"weight_decay": "none", "imgsz": "none"}) == TrainConfig()


def test_a_log_has_objects_only(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1}\n{"ste')
    assert read_metrics(log) == [{"step": 1}]
    for line in ("[1]", "3", '{"step": "1"}'):
        log.write_text(f'{line}\n{{"step": 1}}\n')
        with pytest.raises(DataError, match=r"metrics.jsonl:1: must be a JSON object"):
            read_metrics(log)


def test_the_recipes_are_configurations():
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    trained = [make_config(str(path), {}) for path in recipes if "\nmodel:" in path.read_text()]
    assert trained and all((Path(__file__).parents[2] / config.data.data).is_file() for config in trained)
