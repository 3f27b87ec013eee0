"""Decoders as tools for language models write them, node by node: onnxruntime-genai's with GroupQueryAttention, onnxruntime's GPT-2 with
stacked caches, and Optimum's two branches, with and without a cache, in one file."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

WORDS, WIDTH, LAYERS, HEADS, GROUPS, SIZE, INNER, PLACES = 60, 32, 2, 4, 2, 16, 48, 64
ROWS, STEPS = "batch_size", "sequence_length"
MS = "com.microsoft"
models = []  # as make.py takes them


class Net:
    """A graph in the making; each method gives the name of what it adds."""

    def __init__(self):
        self.rng = np.random.default_rng(7)
        self.nodes, self.inputs, self.outputs, self.stored, self.seen = [], [], [], [], 0

    def constant(self, values, dtype=np.int64, name=None):
        self.seen += 1
        self.stored.append(numpy_helper.from_array(np.array(values, dtype), name or f"constant_{self.seen}"))
        return self.stored[-1].name

    def weight(self, name, *dims, center=0.0, scale=0.2):
        return self.constant(center + scale * self.rng.standard_normal(dims), np.float32, name)

    def norm(self, name):
        return self.weight(name, WIDTH, center=1.0, scale=0.1)

    def input(self, name, kind, *dims):
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, name, *dims):
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims or None))
        return name

    def add(self, op, *inputs, outputs=1, domain="", **attributes):
        """A node whose outputs are named, or counted."""
        self.seen += 1
        names = outputs if isinstance(outputs, list) else [f"{op}_{self.seen}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"node_{self.seen}", domain=domain, **attributes))
        return names[0] if len(names) == 1 else names

    def linear(self, x, name, *dims):
        return self.add("MatMul", x, self.weight(name, *dims))

    def write(self, path, opset):
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.stored)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
        save(helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset > 18 else 8), path)


def genai(path, packed=False, rotary="inside", counts="mask", sinks=False, keep=False, **attributes):
    """As onnxruntime-genai's model builder writes Llama, Phi and gpt-oss."""
    net = Net()
    ids = net.input("input_ids", TensorProto.INT64, ROWS, STEPS)
    if counts == "mask":
        mask = net.input("attention_mask", TensorProto.INT64, ROWS, "total_sequence_length")
        lengths = net.add("ReduceSum", mask, net.constant([1]), keepdims=0)
        lengths = net.add("Cast", net.add("Sub", lengths, net.constant([1])), to=TensorProto.INT32)
        total = net.add("Cast", net.add("Gather", net.add("Shape", mask), net.constant(1)), to=TensorProto.INT32)
    else:
        lengths = net.input("seqlens_k", TensorProto.INT32, ROWS)
        total = net.input("total_sequence_length", TensorProto.INT32)
    places = net.input("position_ids", TensorProto.INT64, ROWS, STEPS) if rotary == "apart" else ""
    angles = np.arange(PLACES)[:, None] / 10000 ** (np.arange(SIZE // 2) / (SIZE // 2))
    tables = [net.constant(np.cos(angles), np.float32, "cos_cache"), net.constant(np.sin(angles), np.float32, "sin_cache")]
    net.output("logits", ROWS, STEPS, WORDS)
    skip = net.add("Gather", net.weight("model.embed_tokens.weight", WORDS, WIDTH, scale=1), ids)
    x = net.add("SimplifiedLayerNormalization", skip, net.norm("model.layers.0.input_layernorm.weight"), axis=-1, epsilon=1e-6)
    for layer in range(LAYERS):
        at = lambda part: f"model.layers.{layer}.{part}"
        if packed:
            q, k, v = net.linear(x, at("qkv_proj"), WIDTH, (HEADS + 2 * GROUPS) * SIZE), "", ""
        else:
            q, k, v = (net.linear(x, at(f"{part}_proj"), WIDTH, n * SIZE) for part, n in (("q", HEADS), ("k", GROUPS), ("v", GROUPS)))
        if rotary == "apart":
            q, k = (net.add("RotaryEmbedding", y, places, *tables, domain=MS) for y in (q, k))
        past = [net.input(f"past_key_values.{layer}.{part}", TensorProto.FLOAT, ROWS, GROUPS, "past_sequence_length", SIZE) for part in ("key", "value")]
        present = [net.output(f"present.{layer}.{part}", ROWS, GROUPS, "total_sequence_length", SIZE) for part in ("key", "value")]
        inside = tables if rotary == "inside" else ["", ""]
        sink = ["", "", net.weight(at("sinks"), HEADS, scale=1)] if sinks else []
        how = {"num_heads": HEADS, "kv_num_heads": GROUPS, "do_rotary": int(rotary == "inside"), **attributes}
        y = net.add("GroupQueryAttention", q, k, v, *past, lengths, total, *inside, *sink, outputs=[at("attention"), *present], domain=MS, **how)[0]
        y = net.linear(y, at("o_proj"), HEADS * SIZE, WIDTH)
        x, _, _, skip = net.add("SkipSimplifiedLayerNormalization", skip, y, net.norm(at("post_attention_layernorm.weight")), outputs=4, domain=MS, epsilon=1e-6)
        gate, up = net.linear(x, at("gate_proj"), WIDTH, INNER), net.linear(x, at("up_proj"), WIDTH, INNER)
        y = net.linear(net.add("Mul", net.add("Mul", gate, net.add("Sigmoid", gate)), up), at("down_proj"), INNER, WIDTH)
        x, _, _, skip = net.add("SkipSimplifiedLayerNormalization", skip, y, net.norm(at("next_layernorm.weight")), outputs=4, domain=MS, epsilon=1e-6)
    if keep:
        first = net.add("Unsqueeze", net.add("Neg", net.input("num_logits_to_keep", TensorProto.INT64)), net.constant([0]))
        x = net.add("Slice", x, first, net.constant([2**62]), net.constant([1]))
    net.add("MatMul", x, net.weight("lm_head", WIDTH, WORDS), outputs=["logits"])
    net.write(path, 21)


def stacked(path):
    """As onnxruntime's own export of GPT-2: keys and values of a layer in one input, in front of the rows."""
    net, size = Net(), WIDTH // HEADS
    ids, places = (net.input(name, TensorProto.INT32, "batch", "seq") for name in ("input_ids", "position_ids"))
    mask = net.input("attention_mask", TensorProto.INT32, "batch", "total")
    net.output("logits", "batch", "seq", WORDS)
    x = net.add("Add", net.add("Gather", net.weight("wte", WORDS, WIDTH, scale=1), ids), net.add("Gather", net.weight("wpe", PLACES, WIDTH), places))
    for layer in range(LAYERS):
        past = net.input(f"past_{layer}", TensorProto.FLOAT, 2, "batch", HEADS, "past", size)
        present = net.output(f"present_{layer}", 2, "batch", HEADS, "total", size)
        y = net.add("LayerNormalization", x, net.norm(f"scale_{layer}"), net.weight(f"shift_{layer}", WIDTH), axis=-1)
        weights = net.weight(f"attention_{layer}", WIDTH, 3 * WIDTH), net.weight(f"bias_{layer}", 3 * WIDTH)
        y = net.add("Attention", y, *weights, mask, past, outputs=[f"y_{layer}", present], domain=MS, num_heads=HEADS, unidirectional=1)[0]
        x = net.add("Add", x, net.linear(y, f"projection_{layer}", WIDTH, WIDTH))
    net.add("MatMul", x, net.weight("head", WIDTH, WORDS), outputs=["logits"])
    net.write(path, 17)


def merged(path):
    """As Optimum merges the decoder of an encoder-decoder: a switch chooses whether caches are read. Its attention looks ahead, so that
    nothing hides what a cache adds."""
    net, size = Net(), WIDTH // HEADS
    ids = net.input("input_ids", TensorProto.INT64, ROWS, "decoder_sequence_length")
    seen = net.input("encoder_hidden_states", TensorProto.FLOAT, ROWS, "encoder_sequence_length", WIDTH)
    parts = [f"{side}.{part}" for side in ("decoder", "encoder") for part in ("key", "value")]
    past = [net.input(f"past_key_values.0.{part}", TensorProto.FLOAT, ROWS, HEADS, f"past_{part[:7]}_length", size) for part in parts]
    net.input("use_cache_branch", TensorProto.BOOL, 1)
    net.output("logits", ROWS, "decoder_sequence_length", WORDS)
    present = [net.output(f"present.0.{part}", ROWS, HEADS, "length", size) for part in parts]
    x = net.add("Gather", net.weight("embedding", WORDS, WIDTH, scale=1), ids)
    weights = {name: net.weight(name, WIDTH, WIDTH) for name in [f"{side}.{part}" for side in ("self", "cross") for part in "qkvo"]}
    head, apart, together = net.weight("head", WIDTH, WORDS), net.constant([0, 0, HEADS, size]), net.constant([0, 0, WIDTH])
    main, branches = net.nodes, []
    for cached in (True, False):
        net.nodes = []
        split = lambda y, name: net.add("Transpose", net.add("Reshape", net.add("MatMul", y, weights[name]), apart), perm=[0, 2, 1, 3])

        def attend(x, side, k, v):
            scores = net.add("MatMul", split(x, f"{side}.q"), net.add("Transpose", k, perm=[0, 1, 3, 2]))
            y = net.add("Transpose", net.add("MatMul", net.add("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
            return net.add("Add", x, net.add("MatMul", net.add("Reshape", y, together), weights[f"{side}.o"]))

        k, v = split(x, "self.k"), split(x, "self.v")
        if cached:
            k, v = net.add("Concat", past[0], k, axis=2), net.add("Concat", past[1], v, axis=2)
            of_encoder = [net.add("Identity", name) for name in past[2:]]
        else:
            of_encoder = [split(seen, "cross.k"), split(seen, "cross.v")]
        y = attend(attend(x, "self", k, v), "cross", *of_encoder)
        results = [net.add("MatMul", y, head), k, v, *of_encoder]
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
        branches.append(helper.make_graph(net.nodes, "with_past" if cached else "no_past", [], infos))
    net.nodes = main
    net.add("If", "use_cache_branch", outputs=["logits", *present], then_branch=branches[0], else_branch=branches[1])
    net.write(path, 17)


for name, options in {
    "decoder": {"scale": 0.25},
    "decoder_packed": {"packed": True},
    "decoder_turned_apart": {"rotary": "apart"},
    "decoder_counts": {"counts": "inputs", "rotary": "", "smooth_softmax": 1},
    "decoder_sinks": {"sinks": True, "local_window_size": 3, "softcap": 2.0, "rotary_interleaved": 1},
    "decoder_keep": {"keep": True, "local_window_size": 2},
}.items():
    models.append((name, lambda path, options=options: genai(path, **options), "genai", 21))
models.append(("gpt2_stacked", stacked, "onnxruntime", 17))
models.append(("decoder_merged", merged, "optimum", 17))
