"""Multilayer perceptrons of scikit-learn, and LightGBM's trees, which must be refused."""

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
models.append(("lightgbm_trees", trees, "onnxmltools", 15))
