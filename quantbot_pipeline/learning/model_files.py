"""Model files: stored with skops, loaded without ever running code from the file.

What is checked before anything in a file is built: its SHA-256 against the registry's, that it is a plain
skops archive, and that it holds nothing but the node kinds and types listed here. What is checked after:
that it is a pipeline, and that every tree's indices lie within the tree, because scikit-learn follows them
without bounds checks.

Files are canonical: skops names nodes by memory address and archives carry the time of day, so both are
replaced, and the same model gives the same bytes.
"""

import hashlib
import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import skops.io
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree._tree import Tree

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.calibration import SigmoidCalibrated
from quantbot_pipeline.learning.model_addresses import (
    read_model_bytes,
    require_file_name,
    shown_address,
    write_model_bytes,
)

_TREE_PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
_TREE = "sklearn.tree._tree.Tree"
_CALIBRATED = "quantbot_pipeline.learning.calibration.SigmoidCalibrated"

_TRUSTED_NODES: frozenset[tuple[str, str]] = frozenset(
    {
        ("DTypeNode", "numpy.dtype"),
        ("DictNode", "builtins.dict"),
        ("JsonNode", "builtins.str"),
        ("ListNode", "builtins.list"),
        ("LossNode", "sklearn._loss._loss.CyHalfBinomialLoss"),
        ("LossNode", "sklearn._loss._loss.CyHalfSquaredError"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.int64"),
        ("NdArrayNode", "numpy.ndarray"),
        ("NdArrayNode", "numpy.uint64"),
        ("ObjectNode", _CALIBRATED),
        ("ObjectNode", "sklearn._loss.link.IdentityLink"),
        ("ObjectNode", "sklearn._loss.link.Interval"),
        ("ObjectNode", "sklearn._loss.link.LogitLink"),
        ("ObjectNode", "sklearn._loss.loss.HalfBinomialLoss"),
        ("ObjectNode", "sklearn._loss.loss.HalfSquaredError"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"),
        (
            "ObjectNode",
            "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        ),
        (
            "ObjectNode",
            "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
        ),
        ("ObjectNode", _TREE_PREDICTOR),
        ("ObjectNode", "sklearn.ensemble._forest.RandomForestClassifier"),
        ("ObjectNode", "sklearn.ensemble._forest.RandomForestRegressor"),
        ("ObjectNode", "sklearn.impute._base.SimpleImputer"),
        ("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression"),
        ("ObjectNode", "sklearn.linear_model._ridge.Ridge"),
        ("ObjectNode", "sklearn.pipeline.Pipeline"),
        ("ObjectNode", "sklearn.preprocessing._data.StandardScaler"),
        ("ObjectNode", "sklearn.preprocessing._label.LabelEncoder"),
        ("ObjectNode", "sklearn.tree._classes.DecisionTreeClassifier"),
        ("ObjectNode", "sklearn.tree._classes.DecisionTreeRegressor"),
        ("RandomGeneratorNode", "numpy.random._generator.Generator"),
        ("TreeNode", _TREE),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.str"),
    }
)
"""Everything a model file may hold: how skops builds it, and its type. Never taken from a file."""

# Beyond what skops trusts by itself. It leaves trees out because a crafted one reads outside its memory when it
# predicts; `_check_trees` refuses such trees.
_TRUSTED_BEYOND_SKOPS = ["numpy.dtype", _TREE_PREDICTOR, _TREE, _CALIBRATED]

_PREPARING = (SimpleImputer, StandardScaler)
_MODELS = (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    LogisticRegression,
    RandomForestClassifier,
    RandomForestRegressor,
    Ridge,
)
"""What a pipeline is made of: steps that prepare rows, then one model, calibrated or not."""

_SCHEMA_FILE = "schema.json"

# The earliest time that a zip archive can state.
_ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)


class SavedModel(NamedTuple):
    """Where a model was stored, and the SHA-256 (hex) of the file's bytes."""

    uri: str
    sha256: str


def save_model(pipeline: Pipeline, folder: Path | str, name: str, version: str) -> SavedModel:
    """Store a pipeline as `<name>-<version>-<start of its hash>.skops`; again is a no-op.

    The file appears whole or not at all, and a file that was stored before is never changed.

    Args:
        pipeline: Fitted pipeline of `training.train_model`.
        folder: Where to: a directory, made when it is absent, or the address of a folder
            (`model_addresses.SCHEMES`).
        name: Name of the model, see `require_file_name`.
        version: Version of the model, the same.

    Raises:
        InputError: name or version is not allowed.
        LearningError: the pipeline holds a type that `load_model` would refuse, or the file can't be written.
    """
    require_file_name("model name", name)
    require_file_name("model version", version)
    content = _canonical(skops.io.dumps(pipeline))
    _check_nodes(content, f"model {name} {version}")
    sha256 = hashlib.sha256(content).hexdigest()
    return SavedModel(write_model_bytes(folder, f"{name}-{version}-{sha256[:12]}.skops", content), sha256)


def load_model(uri: str, sha256: str) -> Pipeline:
    """Return the pipeline of a model file.

    The bytes are read once: what was hashed and checked is what is built.

    Args:
        uri: Address, as `save_model` gave it.
        sha256: Hash that the registry holds, hex.

    Raises:
        LearningError: the address can't be read, the file is absent or not the one that was registered,
            is not a skops archive (a pickle, for one), holds a type that is not in our list or a tree with
            indices outside of it, or was stored by another version of scikit-learn.
    """
    what = f"model file {shown_address(uri)}"
    content = read_model_bytes(uri)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise LearningError(
            f"{what} is not the one that was registered: found SHA-256 {found}, registered is "
            f"{sha256}; restore the file or train the model again"
        )
    _check_nodes(content, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            pipeline = skops.io.loads(content, trusted=_TRUSTED_BEYOND_SKOPS)
    except InconsistentVersionWarning as e:
        raise LearningError(
            f"{what} was stored by scikit-learn {e.original_sklearn_version}, found is "
            f"{e.current_sklearn_version}; train the model again"
        ) from e
    # A damaged file can fail anywhere inside skops, numpy or scikit-learn; whatever it is, it is refused.
    except Exception as e:
        raise LearningError(f"{what} can't be built: {type(e).__name__}: {e}; train the model again") from e
    _check_trees(pipeline, what)
    return pipeline


def _canonical(content: bytes) -> bytes:
    """Return a skops archive without memory addresses and times."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read(_SCHEMA_FILE))
        node_numbers: dict[int, int] = {}
        file_names: dict[str, str] = {}

        def renumber(node: Any) -> None:
            if isinstance(node, dict):
                if node.get("__loader__") == "JsonNode":
                    # Whether two equal constants are one object is up to the interpreter; nothing refers
                    # to these nodes.
                    node.pop("__id__", None)
                elif "__id__" in node:
                    node["__id__"] = node_numbers.setdefault(node["__id__"], len(node_numbers) + 1)
                if node.get("__loader__") == "NdArrayNode" and "file" in node:
                    node["file"] = file_names.setdefault(node["file"], f"{len(file_names) + 1}.npy")
                for child in node.values():
                    renumber(child)
            elif isinstance(node, list):
                for child in node:
                    renumber(child)

        renumber(schema)
        canonical = io.BytesIO()
        with zipfile.ZipFile(canonical, "w", zipfile.ZIP_STORED) as target:
            for old_name, new_name in file_names.items():
                target.writestr(zipfile.ZipInfo(new_name, _ARCHIVE_TIME), archive.read(old_name))
            target.writestr(zipfile.ZipInfo(_SCHEMA_FILE, _ARCHIVE_TIME), json.dumps(schema))
    return canonical.getvalue()


def _check_nodes(content: bytes, what: str) -> None:
    """Refuse an archive that holds anything beyond `_TRUSTED_NODES`; builds and imports nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Only uncompressed entries: a small file can't grow into gigabytes.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise LearningError(f"{what} holds compressed entries; allowed is what this project stores")
            schema = json.loads(archive.read(_SCHEMA_FILE))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, EOFError, NotImplementedError) as e:
        kind = "a pickle" if content[:1] == b"\x80" else "no skops archive"
        raise LearningError(f"{what} is {kind}; allowed are model files that this project stored") from e
    strange = sorted({f"{type_name} ({loader})" for loader, type_name in _nodes(schema)} - _trusted_texts())
    if strange:
        raise LearningError(f"{what} holds types that are not trusted: {', '.join(strange)}; it was not loaded")


def _trusted_texts() -> set[str]:
    return {f"{type_name} ({loader})" for loader, type_name in _TRUSTED_NODES}


def _nodes(schema: Any) -> list[tuple[Any, str]]:
    """Return loader and type of every node in a schema, wherever it hides."""
    found: list[tuple[Any, str]] = []
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.keys() & {"__loader__", "__class__", "__module__"}:
                found.append((node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"))
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return found


def _check_trees(pipeline: object, what: str) -> None:
    """Refuse what is not a pipeline, and trees whose indices lead out of the tree or in circles."""
    if not isinstance(pipeline, Pipeline):
        raise LearningError(f"{what} holds a {type(pipeline).__name__}; allowed is a Pipeline")
    try:
        *before, last = (step for _, step in pipeline.steps)
    except (AttributeError, TypeError, ValueError) as e:
        raise LearningError(f"{what} holds a pipeline without steps; it was not loaded: train the model again") from e
    model = last.estimator if type(last) is SigmoidCalibrated else last
    # A model elsewhere, in a pipeline within the pipeline for one, would be out of sight of what follows.
    if not all(type(step) in _PREPARING for step in before) or type(model) not in _MODELS:
        found = ", ".join(type(step).__name__ for step in (*before, model))
        raise LearningError(f"{what} holds the steps {found}, which no model of this project has; it was not loaded")
    try:
        is_sound = _has_sound_trees(model)
    # A part that is absent, or is not what its place asks for.
    except (AttributeError, TypeError, ValueError, IndexError):
        is_sound = False
    if not is_sound:
        raise LearningError(f"{what} holds a damaged tree; it was not loaded: train the model again")


def _has_sound_trees(model: Any) -> bool:
    if isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        trees = [tree for iteration in model._predictors for tree in iteration]
        return all(isinstance(tree, TreePredictor) and _is_sound(tree, model.n_features_in_) for tree in trees)
    if isinstance(model, RandomForestClassifier | RandomForestRegressor):
        return all(_is_sound_tree(each.tree_, model.n_features_in_) for each in model.estimators_)
    return True


def _is_sound_tree(tree: Tree, feature_count: int) -> bool:
    """Whether every split of a forest's tree leads to two later nodes and reads a feature that exists."""
    # scikit-learn reads as many features as the tree itself says, and walks until a left child is -1.
    if not isinstance(tree, Tree) or tree.n_features != feature_count or not tree.node_count:
        return False
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    position = np.arange(tree.node_count)
    leads_on = (
        (left > position)
        & (left < tree.node_count)
        & (right > position)
        & (right < tree.node_count)
        & (feature >= 0)
        & (feature < feature_count)
    )
    return bool((leads_on | (left == -1)).all())


def _is_sound(tree: TreePredictor, feature_count: int) -> bool:
    """Whether every split leads to two later nodes of the tree and reads a feature that exists."""
    nodes = tree.nodes
    if not isinstance(nodes, np.ndarray) or nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not len(nodes):
        return False
    position = np.arange(len(nodes))
    leads_on = (
        (nodes["left"] > position)
        & (nodes["left"] < len(nodes))
        & (nodes["right"] > position)
        & (nodes["right"] < len(nodes))
        & (nodes["feature_idx"] >= 0)
        & (nodes["feature_idx"] < feature_count)
        & (nodes["is_categorical"] == 0)
    )
    return bool((leads_on | (nodes["is_leaf"] != 0)).all())
