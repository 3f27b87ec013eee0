"""Models of torchvision, timm, transformers and PyTorch's own layers, by both of PyTorch's exporters."""

import logging
import os
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from torch import nn

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
SEED = 7
SCRIPT, DYNAMO = "torchscript", "dynamo"
BOTH = [(SCRIPT, 17), (DYNAMO, 20)]
models = []  # as make.py takes them


class First(nn.Module):
    """A model whose output is one tensor of what the wrapped one gives."""

    def __init__(self, model, key):
        super().__init__()
        self.model, self.key = model, key

    def forward(self, image):
        return self.model(image)[self.key]


def settle(model, inputs):
    """Makes every layer count in outputs and gradients: weights that are all zero become small random ones, layers are scaled to outputs
    of unit variance on random rows, one after the other, and running statistics become those of the rows."""

    def scale(layer, _, out):
        factor = out.std().item()
        if 0 < factor < 1:
            layer.weight /= factor
            if layer.bias is not None:
                layer.bias /= factor
            return out / factor

    rows = [torch.randn(128, *x.shape[1:]) if x.is_floating_point() else x for x in inputs]
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    with torch.no_grad():
        for p in model.parameters():
            if p.numel() > 1 and not p.any():
                p.normal_(std=0.02)
        for m in model.modules():
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.momentum = None
                m.train()
        hooks = [m.register_forward_hook(scale) for m in model.modules() if isinstance(m, layers)]
        model(*rows)
        for hook in hooks:
            hook.remove()
    return model.eval()


def torch_export(build, path, exporter, opset, rows):
    torch.manual_seed(SEED)
    model, inputs, names = build()
    settle(model.eval(), inputs)
    options = {"input_names": names, "output_names": ["scores"], "opset_version": opset, "verbose": False}
    if exporter == SCRIPT:
        if rows is None:
            options["dynamic_axes"] = {name: {0: "batch"} for name in [*names, "scores"]}
        torch.onnx.export(model, inputs, path, dynamo=False, **options)
    else:
        if rows is None:
            options["dynamic_shapes"] = tuple({0: torch.export.Dim("batch", min=1, max=64)} for _ in inputs)
        torch.onnx.export(model, inputs, path, dynamo=True, external_data=False, **options)


def add(name, build, versions=BOTH, rows=None):
    for exporter, opset in versions:
        label = name if rows is None else f"{name}_rows{rows}"
        models.append((label, lambda p, e=exporter, o=opset: torch_export(build, p, e, o, rows), exporter, opset))


def image(n, size=32, channels=3):
    return torch.randn(n, channels, size, size)


# torchvision


def classifier(name, size=32, rows=2, **options):
    def build():
        import torchvision

        model = getattr(torchvision.models, name)(weights=None, num_classes=10, **options)
        # The wide layers of AlexNet and VGG are most of the file and show nothing more.
        if name.startswith(("vgg", "alexnet")):
            model.avgpool = nn.AdaptiveAvgPool2d(1 if name == "alexnet" else 2)
            wide = 256 if name == "alexnet" else 2048
            model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(wide, 64), nn.ReLU(True), nn.Linear(64, 10))
        return model, (image(rows, size),), ["image"]

    return build


ALL = [(SCRIPT, 11), (SCRIPT, 13), (SCRIPT, 15), (SCRIPT, 17), (SCRIPT, 18), (SCRIPT, 20)] + [
    (DYNAMO, v) for v in (18, 20, 21, 22, 23, 24)
]
add("resnet18", classifier("resnet18"), ALL)
add("resnet18", classifier("resnet18", rows=1), [(SCRIPT, 17), (DYNAMO, 18)], rows=1)
for name in "vgg11_bn mobilenet_v2 mobilenet_v3_small efficientnet_b0 densenet121 shufflenet_v2_x0_5 regnet_y_400mf convnext_tiny".split():
    add(name, classifier(name, size=64 if name == "vgg11_bn" else 32))
for name in "mnasnet0_5 alexnet squeezenet1_1".split():
    add(name, classifier(name, size=64 if name == "alexnet" else 32))
add("googlenet", classifier("googlenet", size=64, aux_logits=False, init_weights=True))


def swin():
    from torchvision.models.swin_transformer import SwinTransformer

    model = SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10)
    return model, (image(2, 64),), ["image"]


def swin_v2():
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

    model = SwinTransformer(
        [4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2
    )
    return model, (image(2, 64),), ["image"]


def vit():
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(64, 16, 3, 4, 64, 128, num_classes=10), (image(2, 64),), ["image"]


def maxvit():
    from torchvision.models.maxvit import MaxVit

    model = MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, 0.0, num_classes=10)
    return model, (image(2, 64),), ["image"]


for build in (swin, swin_v2, vit, maxvit):
    add(build.__name__, build)


def segmenter(name):
    def build():
        import torchvision

        model = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, num_classes=5)
        # Sixteen residual blocks of full weight would amplify rounding until two runs of one runtime differ.
        for block in (m for m in model.modules() if isinstance(m, torchvision.models.resnet.Bottleneck)):
            nn.init.constant_(block.bn3.weight, 0.2)
        return First(model, "out"), (image(2, 48),), ["image"]

    return build


for name in "fcn_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large".split():
    add(name, segmenter(name))


# timm


def timm_model(name, size=32, **options):
    def build():
        import timm

        return timm.create_model(name, pretrained=False, num_classes=10, **options), (image(2, size),), ["image"]

    return build


for name, options in {
    "mobilenetv4_conv_small": {},
    "ghostnet_100": {},
    "mixer_s32_224": {"img_size": 32},
    "xcit_nano_12_p8_224": {"img_size": 32},
    "edgenext_xx_small": {},
}.items():
    add(f"timm_{name}", timm_model(name, **options))


# transformers


def tokens(n=2, length=16, vocabulary=100):
    return torch.randint(3, vocabulary, (n, length))


TEXT = dict(vocab_size=100, num_labels=4, attn_implementation="eager")
WIDTH = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=40)


def hugging(config, model, kind="text", key="logits", **options):
    def build():
        import transformers as t

        net = getattr(t, model)(getattr(t, config)(**options))
        inputs, names = {
            "text": lambda: ((tokens(), torch.ones(2, 16, dtype=torch.long)), ["input_ids", "attention_mask"]),
            "tokens": lambda: ((tokens(),), ["input_ids"]),
            "image": lambda: ((image(2, 32),), ["pixel_values"]),
            "sound": lambda: ((torch.randn(2, 16, 32),), ["input_features"]),
        }[kind]()

        class One(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, only):
                return self.net(**{names[0]: only})[key]

        class Two(One):
            def forward(self, first, second):
                return self.net(**{names[0]: first, names[1]: second})[key]

        return (One() if len(names) == 1 else Two()), inputs, names

    return build


VIT = dict(WIDTH, image_size=32, patch_size=8, num_labels=4, attn_implementation="eager")
EAGER = dict(attn_implementation="eager")
for name, build in {
    "bert_classifier": hugging("BertConfig", "BertForSequenceClassification", **TEXT, **WIDTH),
    "bert_tagger": hugging("BertConfig", "BertForTokenClassification", **TEXT, **WIDTH),
    "bert_masked": hugging("BertConfig", "BertForMaskedLM", **TEXT, **WIDTH),
    "distilbert": hugging("DistilBertConfig", "DistilBertForSequenceClassification", dim=32, n_layers=2, n_heads=4, hidden_dim=64, **TEXT),
    "roberta": hugging("RobertaConfig", "RobertaForSequenceClassification", **TEXT, **WIDTH),
    "albert": hugging("AlbertConfig", "AlbertForSequenceClassification", embedding_size=16, **TEXT, **WIDTH),
    "electra": hugging("ElectraConfig", "ElectraForSequenceClassification", embedding_size=16, **TEXT, **WIDTH),
    "mobilebert": hugging("MobileBertConfig", "MobileBertForSequenceClassification", embedding_size=32, intra_bottleneck_size=32, **TEXT, **WIDTH),
    "deberta_v2": hugging("DebertaV2Config", "DebertaV2ForSequenceClassification", **TEXT, **WIDTH),
    "mpnet": hugging("MPNetConfig", "MPNetForSequenceClassification", **TEXT, **WIDTH),
    "squeezebert": hugging("SqueezeBertConfig", "SqueezeBertForSequenceClassification", embedding_size=32, **TEXT, **WIDTH),
    "gpt2": hugging("GPT2Config", "GPT2LMHeadModel", "tokens", n_embd=32, n_layer=2, n_head=4, n_positions=40, use_cache=False, **TEXT),
    "opt": hugging("OPTConfig", "OPTForCausalLM", "text", hidden_size=32, num_hidden_layers=2, ffn_dim=64, num_attention_heads=4, max_position_embeddings=40, word_embed_proj_dim=32, use_cache=False, **TEXT),
    "llama": hugging("LlamaConfig", "LlamaForCausalLM", "tokens", num_key_value_heads=2, use_cache=False, **TEXT, **WIDTH),
    "qwen2": hugging("Qwen2Config", "Qwen2ForSequenceClassification", "tokens", num_key_value_heads=2, use_cache=False, pad_token_id=0, **TEXT, **WIDTH),
    "t5_encoder": hugging("T5Config", "T5EncoderModel", "text", "last_hidden_state", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, **EAGER),
    "whisper_encoder": hugging("WhisperConfig", "WhisperForAudioClassification", "sound", num_labels=4, d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, num_mel_bins=16, max_source_positions=16, decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=64, vocab_size=100, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, classifier_proj_size=16, **EAGER),
    "hf_vit": hugging("ViTConfig", "ViTForImageClassification", "image", **VIT),
    "deit": hugging("DeiTConfig", "DeiTForImageClassification", "image", **VIT),
    "beit": hugging("BeitConfig", "BeitForImageClassification", "image", **VIT),
    "dinov2": hugging("Dinov2Config", "Dinov2ForImageClassification", "image", **VIT),
    "hf_convnext": hugging("ConvNextConfig", "ConvNextForImageClassification", "image", hidden_sizes=[16, 32], depths=[1, 1], num_stages=2, num_labels=4),
    "mobilevit": hugging("MobileViTConfig", "MobileViTForImageClassification", "image", image_size=32, num_labels=4, hidden_sizes=[32, 40, 48], neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 64], **EAGER),
    "hf_resnet": hugging("ResNetConfig", "ResNetForImageClassification", "image", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], num_labels=4),
    "segformer": hugging("SegformerConfig", "SegformerForSemanticSegmentation", "image", num_labels=4, hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=32),
}.items():
    versions = {"bert_classifier": [(SCRIPT, 11), (SCRIPT, 14), (SCRIPT, 17), (DYNAMO, 18), (DYNAMO, 20), (DYNAMO, 23)]}.get(name, BOTH)
    add(name, build, versions)


def continued(config, model, **options):
    """A decoder that takes and gives caches, as Optimum wraps one: input_ids, attention_mask, position_ids, past_key_values.*."""

    def save(path, exporter, opset):
        import transformers as t

        torch.manual_seed(SEED)
        net = getattr(t, model)(getattr(t, config)(**options)).eval()
        c, batch, steps, before = net.config, 2, 7, 3
        heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
        size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        with torch.no_grad():
            for p in net.parameters():
                p.normal_(std=0.2) if p.ndim > 1 else p.add_(0.1 * torch.randn_like(p))

        class Cached(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, input_ids, attention_mask, position_ids, *past):
                cache = t.DynamicCache(list(zip(past[::2], past[1::2])))
                out = self.net(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache, use_cache=True)
                return out.logits, *(part for layer in out.past_key_values.layers for part in (layer.keys, layer.values))

        caches = [f"{layer}.{part}" for layer in range(c.num_hidden_layers) for part in ("key", "value")]
        places = torch.arange(before, before + steps).expand(batch, steps).contiguous()
        args = (tokens(batch, steps), torch.ones(batch, steps + before, dtype=torch.long), places, *(torch.randn(batch, heads, before, size) for _ in caches))
        names = ["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{cache}" for cache in caches)]
        axes = [{0: "batch", 1: "sequence"}, {0: "batch", 1: "total"}, {0: "batch", 1: "sequence"}] + [{0: "batch", 2: "past"} for _ in caches]
        how = {"input_names": names, "output_names": ["logits", *(f"present.{cache}" for cache in caches)], "opset_version": opset, "verbose": False}
        if exporter == SCRIPT:
            torch.onnx.export(Cached(), args, path, dynamo=False, dynamic_axes=dict(zip(names, axes)), **how)
        else:
            shapes = [{axis: torch.export.Dim.DYNAMIC for axis in of} for of in axes]
            torch.onnx.export(Cached(), args, path, dynamo=True, external_data=False, dynamic_shapes=(*shapes[:3], tuple(shapes[3:])), **how)

    return save


def translating(config, model, **options):
    """An encoder-decoder in one file."""

    def build():
        import transformers as t

        class Both(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = getattr(t, model)(getattr(t, config)(vocab_size=100, pad_token_id=0, decoder_start_token_id=0, **options))

            def forward(self, input_ids, attention_mask, decoder_input_ids):
                return self.net(input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids, use_cache=False).logits

        return Both(), (tokens(), torch.ones(2, 16, dtype=torch.long), tokens(length=9)), ["input_ids", "attention_mask", "decoder_input_ids"]

    return build


SMALL = dict(vocab_size=100, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)
for name, save in {
    "gpt2_past": continued("GPT2Config", "GPT2LMHeadModel", vocab_size=100, n_positions=64, n_embd=32, n_layer=2, n_head=4),
    "llama_past": continued("LlamaConfig", "LlamaForCausalLM", **SMALL),
    "mistral_past": continued("MistralConfig", "MistralForCausalLM", sliding_window=5, **SMALL),
    "qwen3_past": continued("Qwen3Config", "Qwen3ForCausalLM", head_dim=8, **SMALL),
    "gemma2_past": continued("Gemma2Config", "Gemma2ForCausalLM", head_dim=8, sliding_window=5, **SMALL),
}.items():
    for exporter, opset in BOTH:
        models.append((name, lambda path, save=save, e=exporter, o=opset: save(path, e, o), exporter, opset))
add("t5", translating("T5Config", "T5ForConditionalGeneration", d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4), [(SCRIPT, 17)])
add("bart", translating("BartConfig", "BartForConditionalGeneration", d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64))


# PyTorch's own layers


class Recurrent(nn.Module):
    def __init__(self, layer, **options):
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.layer = layer(16, 24, batch_first=True, **options)
        self.head = nn.Linear(48 if options.get("bidirectional") else 24, 4)

    def forward(self, ids):
        return self.head(self.layer(self.embedding(ids))[0][:, -1])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 32)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)

    def forward(self, ids):
        return self.head(self.layers(self.embedding(ids)).mean(1))


def unet():
    block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(4, o), nn.SiLU())

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = block(3, 16), block(16, 32), block(32, 16)
            self.down, self.up, self.head = nn.MaxPool2d(2), nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(16, 3, 1)

        def forward(self, x):
            a = self.a(x)
            return self.head(self.c(torch.cat([a, self.up(self.b(self.down(a)))], 1)))

    return UNet(), (image(2, 32),), ["image"]


def perceptron():
    net = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Linear(32, 16), nn.PReLU(), nn.LayerNorm(16), nn.Linear(16, 1))
    return net, (torch.randn(2, 12),), ["features"]


def convolution_1d():
    net = nn.Sequential(nn.Conv1d(4, 16, 5, 2), nn.InstanceNorm1d(16, affine=True), nn.ELU(), nn.AvgPool1d(2), nn.Flatten(), nn.LazyLinear(3), nn.Sigmoid())
    net(torch.randn(2, 4, 64))
    return net, (torch.randn(2, 4, 64),), ["signal"]


def convolution_3d():
    net = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 8, 3, groups=2), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(1))
    return net, (torch.randn(2, 1, 12, 12, 12),), ["volume"]


WIDE = [(SCRIPT, 11), (SCRIPT, 17), (DYNAMO, 20)]
add("perceptron", perceptron, WIDE)
add("convolution_1d", convolution_1d, WIDE)
add("convolution_3d", convolution_3d, WIDE)
add("unet", unet, WIDE)
add("encoder", lambda: (Encoder(), (tokens(),), ["ids"]), WIDE)
for label, layer, options in (("lstm", nn.LSTM, {}), ("gru", nn.GRU, {}), ("rnn", nn.RNN, {}), ("lstm_both_ways", nn.LSTM, {"num_layers": 2, "bidirectional": True})):
    add(label, lambda l=layer, o=options: (Recurrent(l, **o), (tokens(),), ["ids"]), WIDE)
