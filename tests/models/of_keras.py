"""Keras models by tf2onnx."""

import keras
import tensorflow as tf
import tf2onnx
from keras import layers

SEED = 7
models = []  # as make.py takes them


def settle(model):
    """Makes running statistics those of random rows: with untouched ones, the scores of a deep network do not depend on its weights."""
    normalizations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0
    if normalizations:
        model(keras.random.normal((128, *model.inputs[0].shape[1:])), training=True)


def keras_export(build, opset):
    def save(path):
        keras.utils.set_random_seed(SEED)
        model = build()
        settle(model)
        signature = [tf.TensorSpec((None, *i.shape[1:]), i.dtype, name=i.name) for i in model.inputs]
        run = tf.function(lambda *inputs: model(inputs[0] if len(inputs) == 1 else inputs, training=False), input_signature=signature)
        tf2onnx.convert.from_function(run, signature, opset=opset, output_path=path)

    return save


def keras_convolutional():
    return keras.Sequential([
        layers.Input((24, 24, 3)), layers.Conv2D(16, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(),
        layers.SeparableConv2D(24, 3, padding="same", activation="swish"), layers.LayerNormalization(),
        layers.GlobalAveragePooling2D(), layers.Dropout(0.3), layers.Dense(5, activation="softmax"),
    ])


def keras_dense():
    return keras.Sequential([
        layers.Input((12,)), layers.Dense(32, activation="elu"), layers.Dense(16, activation="leaky_relu"), layers.Dense(1, activation="sigmoid"),
    ])


def keras_attention():
    ids = layers.Input((16,), dtype="int32")
    x = layers.Embedding(100, 32)(ids)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    return keras.Model(ids, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def keras_lstm():
    return keras.Sequential([layers.Input((16,), dtype="int32"), layers.Embedding(100, 16), layers.LSTM(24), layers.Dense(4)])


def keras_mobilenet():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10)


for build in (keras_convolutional, keras_dense, keras_attention, keras_lstm, keras_mobilenet):
    for opset in (13, 17):
        models.append((build.__name__, keras_export(build, opset), "tf2onnx", opset))
