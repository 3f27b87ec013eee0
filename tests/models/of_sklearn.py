"""Multilayer perceptrons, linear models and prepared columns of scikit-learn, and LightGBM's trees, which must be refused."""

from pathlib import Path

import numpy as np

SEED = 7
models = []  # as make.py takes them


def sklearn_export(kind, opset, **options):
    def save(path):
        from skl2onnx import to_onnx
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        random = np.random.default_rng(SEED)
        x = random.normal(size=(200, 8)).astype(np.float32)
        y = x @ random.normal(size=8).astype(np.float32)
        if kind == "regressor":
            fitted, extra = MLPRegressor(hidden_layer_sizes=(16, 8), random_state=SEED, max_iter=50).fit(x, y), {}
        else:
            classes = np.digitize(y, [-1.5, 1.5] if kind == "classifier" else [0])
            fitted = MLPClassifier(hidden_layer_sizes=(16, 8), activation="tanh", random_state=SEED, max_iter=50).fit(x, classes)
            extra = {"options": {"zipmap": False}, **options}
        Path(path).write_bytes(to_onnx(fitted, x[:1], target_opset=opset, **extra).SerializeToString())

    return save


def table():
    """Six columns of numbers, the last two of which are codes, three classes, two classes, and values."""
    random = np.random.default_rng(SEED)
    x = np.concatenate([random.normal(size=(200, 4)), random.integers(0, 3, size=(200, 2))], 1).astype(np.float32)
    y = x @ random.normal(size=6).astype(np.float32)
    return x, np.digitize(y, np.quantile(y, [0.3, 0.7])), (y > np.median(y)).astype(int), y


def linear(made, which, **options):
    """A linear model, of three classes, two, their names, or values."""

    def save(path):
        from skl2onnx import to_onnx

        x, three, two, values = table()
        y = {"three": three, "two": two, "names": np.array(["no", "yes"])[two], "values": values, "pairs": np.stack([values, -values], 1)}[which]
        fitted = made().fit(x, y)
        extra = {"options": options} if options else {}
        Path(path).write_bytes(to_onnx(fitted, x[:1], target_opset=21, **extra).SerializeToString())

    return save


def prepared(last):
    """A pipeline that prepares columns in every way that is taken."""

    def save(path):
        from skl2onnx import to_onnx
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Binarizer, MinMaxScaler, Normalizer, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

        x, three, _, _ = table()
        columns = [
            ("scaled", make_pipeline(StandardScaler(), MinMaxScaler()), [0]),
            ("filled", make_pipeline(SimpleImputer(strategy="median"), RobustScaler()), [1]),
            ("steps", Binarizer(threshold=0.5), [2]),
            ("lengths", Normalizer(), [0, 1, 2]),
            ("shares", Normalizer("l1"), [2, 3]),
            ("highest", Normalizer("max"), [4, 5]),
            ("coded", OneHotEncoder(handle_unknown="ignore"), [4]),
            ("numbered", OrdinalEncoder(), [5]),
        ]
        model = {"mlp": lambda: MLPClassifier((16,), random_state=SEED, max_iter=50), "logistic": LogisticRegression}[last]()
        fitted = make_pipeline(ColumnTransformer(columns, remainder="passthrough"), model).fit(x, three)
        Path(path).write_bytes(to_onnx(fitted, x[:1], target_opset=21, options={"zipmap": False}).SerializeToString())

    return save


def trees(path):
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    random = np.random.default_rng(SEED)
    x = random.normal(size=(200, 8))
    fitted = lightgbm.LGBMClassifier(n_estimators=5, random_state=SEED, verbose=-1).fit(x, (x[:, 0] > 0).astype(int))
    onnx_model = convert_lightgbm(fitted, initial_types=[("features", FloatTensorType([None, 8]))], target_opset=15, zipmap=False)
    Path(path).write_bytes(onnx_model.SerializeToString())


for opset in (11, 17, 21):
    for kind in ("classifier", "binary", "regressor"):
        models.append((f"sklearn_mlp_{kind}", sklearn_export(kind, opset), "skl2onnx", opset))
models.append(("sklearn_mlp_zipmap", sklearn_export("classifier", 17, options={"zipmap": True}), "skl2onnx", 17))


def linear_models():
    from sklearn import linear_model, svm

    yield "logistic", linear_model.LogisticRegression, "three", {"zipmap": False}
    yield "logistic_binary", linear_model.LogisticRegression, "two", {"zipmap": False}
    yield "logistic_names", linear_model.LogisticRegression, "names", {"zipmap": False}
    yield "logistic_zipmap", linear_model.LogisticRegression, "three", {"zipmap": True}
    yield "logistic_raw", linear_model.LogisticRegression, "two", {"zipmap": False, "raw_scores": True}
    yield "sgd_log", lambda: linear_model.SGDClassifier(loss="log_loss", random_state=SEED), "three", {"zipmap": False}
    yield "sgd_log_binary", lambda: linear_model.SGDClassifier(loss="log_loss", random_state=SEED), "two", {"zipmap": False}
    yield "linear_svc", svm.LinearSVC, "three", {}
    yield "linear_svc_binary", svm.LinearSVC, "two", {}
    yield "ridge_classifier", linear_model.RidgeClassifier, "three", {"zipmap": False}
    yield "linear_regression", linear_model.LinearRegression, "values", {}
    yield "linear_regression_pairs", linear_model.LinearRegression, "pairs", {}
    yield "ridge", linear_model.Ridge, "values", {}


def later(name):
    """The linear model of this name, made when it is asked for: this file is read where scikit-learn need not be there."""

    def save(path):
        made, which, options = next((rest) for own, *rest in linear_models() if own == name)
        linear(made, which, **options)(path)

    return save


LINEAR = """logistic logistic_binary logistic_names logistic_zipmap logistic_raw sgd_log sgd_log_binary linear_svc linear_svc_binary
ridge_classifier linear_regression linear_regression_pairs ridge""".split()
for name in LINEAR:
    models.append((f"sklearn_{name}", later(name), "skl2onnx", 21))
for name in ("mlp", "logistic"):
    models.append((f"sklearn_prepared_{name}", prepared(name), "skl2onnx", 21))
models.append(("lightgbm_trees", trees, "onnxmltools", 15))
