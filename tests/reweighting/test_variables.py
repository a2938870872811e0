"""Which variables the meta-gradient is taken through."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from l2rw_tf.errors import UsageError
from l2rw_tf.reweighting.variables import select_meta_variables


def paths(network, meta_variables="head"):
    return [variable.path for variable in select_meta_variables(network, meta_variables)]


def normalized_at_the_end():
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, name="first"),
            layers.Dense(3, name="last"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("softmax"),
        ]
    )


def two_heads_on_a_body():
    inputs = keras.Input((4,))
    body = keras.Sequential([keras.Input((4,)), layers.Dense(8, name="in_body")], name="body")
    hidden = layers.LayerNormalization(name="norm")(body(inputs))
    outputs = [
        layers.Dense(2, name="left")(hidden),
        layers.Rescaling(2.0)(layers.BatchNormalization()(layers.Dense(3, name="right")(hidden))),
    ]
    return keras.Model(inputs, outputs)


def head_inside_a_nested_model():
    inputs = keras.Input((4,))
    top = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, name="in_top"), layers.Dense(2, name="out_of_top")]
    )
    return keras.Model(inputs, layers.Softmax()(top(layers.Dense(8, name="below")(inputs))))


def merged_outputs():
    inputs = keras.Input((4,))
    parts = [layers.Dense(3, name=name)(inputs) for name in ("one", "other")]
    return keras.Model(inputs, layers.Average()(parts))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (normalized_at_the_end, {"last"}),
        (two_heads_on_a_body, {"left", "right"}),
        (head_inside_a_nested_model, {"out_of_top"}),
        (merged_outputs, {"one", "other"}),
    ],
)
def test_the_head_is_the_nearest_layers_with_kernels(make, expected):
    found = paths(make())
    assert {path.split("/")[-2] for path in found} == expected
    assert {path.split("/")[-1] for path in found} == {"kernel", "bias"}


def test_a_tensor_reached_in_many_ways_is_looked_at_once():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="in_body")(inputs)
    for _ in range(40):
        hidden = layers.Add()([hidden, layers.ReLU()(hidden)])
    norm = layers.LayerNormalization(axis=[1, 2])(layers.Reshape((2, 2))(hidden))
    assert {path.split("/")[-2] for path in paths(keras.Model(inputs, norm))} == {"in_body"}


def residual(blocks):
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="stem")(inputs)
    for block in range(blocks):
        inner = layers.Dense(4, name=f"a{block}")(hidden)
        inner = layers.BatchNormalization(name=f"norm{block}")(inner)
        inner = layers.Dense(4, name=f"b{block}")(layers.ReLU()(inner))
        hidden = layers.ReLU()(layers.Add()([inner, layers.Dense(4, name=f"c{block}")(hidden)]))
    return keras.Model(inputs, layers.Dense(2, name="head")(hidden))


def test_the_last_block_begins_after_the_last_but_one_merge():
    found = {path.split("/")[-2] for path in paths(residual(3), "last_block")}
    assert found == {"a2", "norm2", "b2", "c2", "head"}
    with pytest.raises(UsageError, match="no residual blocks: give a function"):
        paths(residual(1), "last_block")
    with pytest.raises(UsageError, match="no residual blocks"):
        paths(normalized_at_the_end(), "last_block")


class HeadMadeFirst(keras.Model):
    """What its `call` does nobody can see."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2, name="head")
        self.body = layers.Dense(8, name="body")

    def call(self, inputs):
        return self.head(self.body(inputs))


def test_the_head_of_a_subclassed_network_is_not_guessed():
    network = HeadMadeFirst()
    network(keras.ops.zeros((1, 4)))
    with pytest.raises(UsageError, match="subclassed.*function"):
        paths(network)
    inputs = keras.Input((4,))
    with pytest.raises(UsageError, match="subclassed.*function"):
        paths(keras.Model(inputs, network(inputs)))
    chosen = paths(network, lambda variable: "/head/" in variable.path)
    assert len(chosen) == 2 and all("/head/" in path for path in chosen)
