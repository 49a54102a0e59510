"""Model files and scores: canonical bytes, and nothing loaded that is not ours."""

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from conftest import DataSet, with_pnl_as_label
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import Pipeline

from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.learning.model_files import load_model, save_model
from quantbot_pipeline.learning.model_kinds import ModelType
from quantbot_pipeline.learning.scoring import SCORE_SCHEMA, score_calls
from quantbot_pipeline.learning.training import TrainingPlan, TrainingResult, train_model

CASES = [
    *((model_type, "classification") for model_type in get_args(ModelType) if model_type != "ridge"),
    *((model_type, "regression") for model_type in get_args(ModelType) if model_type != "logistic"),
]


def train(planted: DataSet, model_type: str = "hist_gbm", label_task: str = "classification") -> TrainingResult:
    plan: dict[str, Any] = {"model_type": model_type, "label_task": label_task}
    data = planted if label_task == "classification" else with_pnl_as_label(planted)
    return train_model(*data, TrainingPlan(**plan, seed=3, fold_count=0, importance_repeats=0))


@pytest.fixture(scope="session")
def trained(planted: DataSet) -> TrainingResult:
    return train(planted)


@pytest.fixture(scope="session")
def forests(planted: DataSet) -> dict[str, Pipeline]:
    """Forests of both kinds; tests change them, so each takes a copy."""
    return {task: train(planted, "random_forest", task).pipeline for task in ("classification", "regression")}


def store(directory: Path, content: bytes) -> tuple[str, str]:
    """Return address and hash of a file whose hash is right, whatever it holds."""
    path = directory / "model.skops"
    path.write_bytes(content)
    return path.as_uri(), sha256(content).hexdigest()


def rewritten(
    content: bytes, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """Return an archive whose files were changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


@pytest.mark.parametrize(("model_type", "label_task"), CASES)
def test_model_that_was_stored_and_loaded_scores_the_same(
    planted: DataSet, tmp_path: Path, model_type: str, label_task: str
) -> None:
    result = train(planted, model_type, label_task)

    saved = save_model(result.pipeline, tmp_path / "made" / "here", "win-10", "1")

    assert saved.uri.startswith("file:///")
    path = Path(saved.uri.removeprefix("file://"))
    assert path.name == f"win-10-1-{saved.sha256[:12]}.skops"
    assert sha256(path.read_bytes()).hexdigest() == saved.sha256
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    scores = score_calls(load_model(*saved), planted.features)
    assert scores.schema == SCORE_SCHEMA
    assert scores.equals(score_calls(result.pipeline, planted.features))


@pytest.mark.parametrize("model_type", ["hist_gbm", "random_forest", "ranking"])
def test_same_data_and_seed_give_the_same_bytes(planted: DataSet, tmp_path: Path, model_type: str) -> None:
    first, again = (save_model(train(planted, model_type).pipeline, tmp_path, "a", "1") for _ in range(2))

    assert first == again
    with zipfile.ZipFile(Path(first.uri.removeprefix("file://"))) as archive:
        # Two models stored in the same two seconds would carry the same time by chance.
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_another_process_with_other_threads_and_hash_seed_gives_the_same_bytes(
    planted: DataSet, trained: TrainingResult, tmp_path: Path
) -> None:
    program = (
        "import sys, pathlib\n"
        "sys.path[:0] = sys.argv[1:3]\n"
        "from conftest import make_data_set\n"
        "from quantbot_pipeline.learning.model_files import save_model\n"
        "from quantbot_pipeline.learning.training import TrainingPlan, train_model\n"
        "plan = TrainingPlan(seed=3, fold_count=0, importance_repeats=0)\n"
        "pipeline = train_model(*make_data_set(strength=1.5), plan).pipeline\n"
        "print(save_model(pipeline, pathlib.Path(sys.argv[3]), 'a', '1').sha256)\n"
    )
    here = Path(__file__).parent
    finished = subprocess.run(
        [sys.executable, "-c", program, str(here), str(here.parents[2]), str(tmp_path)],
        env=os.environ | {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert finished.stdout.strip() == save_model(trained.pipeline, tmp_path, "a", "1").sha256


def test_file_that_was_tampered_with_is_refused(trained: TrainingResult, tmp_path: Path) -> None:
    saved = save_model(trained.pipeline, tmp_path, "a", "1")
    path = Path(saved.uri.removeprefix("file://"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(LearningError, match=f"not the one that was registered.*registered is {saved.sha256}"):
        load_model(*saved)


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "was here"))


def test_pickle_is_refused_without_running_it(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    with pytest.raises(LearningError, match="is a pickle; allowed are model files that this project stored"):
        load_model(*store(tmp_path, pickle.dumps(Exploit(trace))))

    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"\x50\x4b\x05\x06" + bytes(18)])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LearningError, match="is no skops archive"):
        load_model(*store(tmp_path, content))


def change_schema(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(files: dict[str, bytes]) -> None:
        schema = json.loads(files["schema.json"])
        change(schema)
        files["schema.json"] = json.dumps(schema).encode()

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Types that skops itself would trust are refused too, when they are not in our list.
        (lambda s: s.update({"__module__": "sklearn.svm._classes", "__class__": "SVC"}), "sklearn.svm._classes.SVC"),
        (lambda s: s.update({"__module__": "os", "__class__": "system"}), "os.system"),
        (lambda s: s.update({"__loader__": "FunctionNode"}), "FunctionNode"),
        (lambda s: s.update({"__loader__": "OperatorFuncNode"}), "OperatorFuncNode"),
        (lambda s: s.update({"more": [{"__loader__": "MethodNode"}]}), "MethodNode"),
        (lambda s: s.pop("__class__"), "sklearn.pipeline.None"),
    ],
)
def test_file_with_a_type_that_is_not_ours_is_refused(
    trained: TrainingResult, tmp_path: Path, change: Any, message: str
) -> None:
    content = rewritten(skops.io.dumps(trained.pipeline), change_schema(change))

    with pytest.raises(LearningError, match=f"types that are not trusted: .*{message}"):
        load_model(*store(tmp_path, content))


def test_model_of_a_type_that_could_not_be_loaded_is_not_stored(planted: DataSet, tmp_path: Path) -> None:
    forest = ExtraTreesClassifier(n_estimators=2).fit([[0.0], [1.0]], [0, 1])

    with pytest.raises(LearningError, match=r"model a 1 holds types that are not trusted: .*ExtraTreesClassifier"):
        save_model(Pipeline([("model", forest)]), tmp_path, "a", "1")

    assert list(tmp_path.iterdir()) == []


def test_file_that_is_not_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match="holds a dict; allowed is a Pipeline"):
        load_model(*store(tmp_path, skops.io.dumps({"a": 1})))


def test_compressed_file_is_refused(trained: TrainingResult, tmp_path: Path) -> None:
    content = rewritten(skops.io.dumps(trained.pipeline), lambda _: None, zipfile.ZIP_DEFLATED)

    with pytest.raises(LearningError, match="compressed entries"):
        load_model(*store(tmp_path, content))


@pytest.mark.parametrize(
    ("field", "value"), [("left", 10_000_000), ("right", 0), ("feature_idx", 99), ("feature_idx", -1)]
)
def test_tree_that_leads_out_of_its_memory_is_refused(
    trained: TrainingResult, tmp_path: Path, field: str, value: int
) -> None:
    """Scikit-learn follows such an index without a check: the process would crash, or read what it must not."""
    pipeline = copy.deepcopy(trained.pipeline)
    tree = pipeline["model"].estimator._predictors[5][0]
    tree.nodes = tree.nodes.copy()
    tree.nodes[field][0] = value

    with pytest.raises(LearningError, match="damaged tree"):
        load_model(*store(tmp_path, skops.io.dumps(pipeline)))


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10_000_000), ("right_child", 0), ("feature", 99), ("feature", -5)]
)
@pytest.mark.parametrize("label_task", ["classification", "regression"])
def test_tree_of_a_forest_that_leads_out_of_its_memory_is_refused(
    forests: dict[str, Pipeline], tmp_path: Path, field: str, value: int, label_task: str
) -> None:
    pipeline = copy.deepcopy(forests[label_task])
    model = pipeline["model"].estimator if label_task == "classification" else pipeline["model"]
    tree = model.estimators_[3].tree_
    state = tree.__getstate__()
    state["nodes"][field][0] = value
    tree.__setstate__(state)

    with pytest.raises(LearningError, match=r"damaged tree|can't be built"):
        load_model(*store(tmp_path, skops.io.dumps(pipeline)))


def test_calibrated_model_around_another_thing_is_refused(trained: TrainingResult, tmp_path: Path) -> None:
    """The part that calibrates is ours, so it is trusted; what stands inside of it is looked at all the same."""
    pipeline = copy.deepcopy(trained.pipeline)
    pipeline["model"].estimator = ExtraTreesClassifier(n_estimators=2).fit([[0.0], [1.0]], [0, 1])

    with pytest.raises(LearningError, match=r"not trusted: .*ExtraTreesClassifier"):
        load_model(*store(tmp_path, skops.io.dumps(pipeline)))


def test_model_in_a_place_where_none_is_looked_for_is_refused(trained: TrainingResult, tmp_path: Path) -> None:
    """A crafted tree could hide in there: every type of the file is trusted, its place is not."""
    hidden = Pipeline([("inner", trained.pipeline)])
    twice = copy.deepcopy(trained.pipeline)
    twice["model"].estimator = copy.deepcopy(twice["model"])

    for pipeline, steps in ((hidden, "Pipeline"), (twice, "SigmoidCalibrated")):
        with pytest.raises(LearningError, match=f"holds the steps {steps}, which no model of this project has"):
            load_model(*store(tmp_path, skops.io.dumps(pipeline)))
    with pytest.raises(LearningError, match="pipeline without steps"):
        load_model(*store(tmp_path, skops.io.dumps(Pipeline([]))))


def test_models_are_stored_and_loaded_through_fsspec(trained: TrainingResult, planted: DataSet) -> None:
    saved = save_model(trained.pipeline, "memory://bucket/models/", "a", "1")

    assert saved.uri == f"memory://bucket/models/a-1-{saved.sha256[:12]}.skops"
    assert score_calls(load_model(*saved), planted.features).equals(score_calls(trained.pipeline, planted.features))
    with pytest.raises(LearningError, match=r"memory://bucket/models/gone\.skops can't be read"):
        load_model("memory://bucket/models/gone.skops", "0" * 64)
    with pytest.raises(LearningError, match="not the one that was registered"):
        load_model(saved.uri, "0" * 64)


def test_store_whose_package_is_missing_names_it(trained: TrainingResult, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if it was not installed, wherever the tests run.
    monkeypatch.setitem(sys.modules, "s3fs", None)

    with pytest.raises(LearningError, match=r"'s3://bucket/models/a-1-.*' needs the package s3fs, .*pip install s3fs"):
        save_model(trained.pipeline, "s3://bucket/models", "a", "1")
    with pytest.raises(LearningError, match="needs the package s3fs"):
        load_model("s3://bucket/models/a.skops", "0" * 64)


def test_address_with_credentials_is_refused_without_repeating_them(trained: TrainingResult) -> None:
    with pytest.raises(LearningError, match="holds credentials") as refused:
        save_model(trained.pipeline, "s3://key:geheim@bucket/models", "a", "1")

    assert "geheim" not in str(refused.value)


def test_file_of_another_scikit_learn_is_refused(trained: TrainingResult, tmp_path: Path) -> None:
    def age(files: dict[str, bytes]) -> None:
        import sklearn

        version = json.dumps(json.dumps(sklearn.__version__))[1:-1].encode()
        assert version in files["schema.json"]
        files["schema.json"] = files["schema.json"].replace(version, version.replace(b"1.", b"0."))

    content = rewritten(skops.io.dumps(trained.pipeline), age)

    with pytest.raises(LearningError, match=r"stored by scikit-learn 0\..*train the model again"):
        load_model(*store(tmp_path, content))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:///nowhere/a.skops", "can't be read"),
        ("https://example.org/a.skops", "allowed are file:// addresses of this machine, and memory://, s3://"),
        ("simplecache::s3://bucket/a.skops", "allowed are file:// addresses"),
        ("file://elsewhere/a.skops", "allowed are file:// addresses"),
        ("a.skops", "allowed are file:// addresses"),
    ],
)
def test_address_that_leads_to_no_file_is_refused(uri: str, message: str) -> None:
    with pytest.raises(LearningError, match=message):
        load_model(uri, "0" * 64)


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a b", "x" * 101])
def test_name_that_can_not_be_part_of_a_file_name_is_refused(
    trained: TrainingResult, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="model name"):
        save_model(trained.pipeline, tmp_path, name, "1")
    with pytest.raises(InputError, match="model version"):
        save_model(trained.pipeline, tmp_path, "a", name)


def test_directory_that_can_not_be_written_is_an_error_of_ours(trained: TrainingResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(LearningError, match="can't be written"):
        save_model(trained.pipeline, tmp_path / "file", "a", "1")


def test_scores_follow_the_names_of_features_not_their_order(planted: DataSet, trained: TrainingResult) -> None:
    names = planted.features.column_names
    reordered = planted.features.select(names[::-1]).append_column("more", pa.array(["text"] * 400))

    assert score_calls(trained.pipeline, reordered).equals(score_calls(trained.pipeline, planted.features))


def test_scores_are_probabilities_by_call_in_the_order_given(planted: DataSet, trained: TrainingResult) -> None:
    scores = score_calls(trained.pipeline, planted.features)

    assert scores.column("call_id").to_pylist() == planted.features.column("call_id").to_pylist()
    values = scores.column("score").to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    # The planted feature raises the score.
    assert np.corrcoef(values, planted.features.column("return_24h").to_numpy())[0, 1] > 0.7
    assert score_calls(trained.pipeline, planted.features.slice(0, 0)).num_rows == 0


def test_scoring_without_a_feature_of_the_model_is_refused(planted: DataSet, trained: TrainingResult) -> None:
    with pytest.raises(LearningError, match="the features lack return_24h"):
        score_calls(trained.pipeline, planted.features.drop_columns(["return_24h"]))
