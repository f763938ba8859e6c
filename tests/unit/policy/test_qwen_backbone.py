"""Our patches, prompts and positions against transformers' own processor and models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finevla.errors import PolicyError
from finevla.policy.config import PolicyConfig, QwenConfig
from finevla.policy.inference import pictures_to_tensor
from finevla.policy.inputs import Inputs
from finevla.policy.model import build_network, network_weights, restore_network
from finevla.policy.presets import preset
from finevla.policy.qwen import CLASSES, build_model, patchify, positions
from finevla.policy.qwen_source import configure, load_pretrained, with_source
from finevla.policy.qwen_text import QwenCodec
from finevla.policy.qwen_tiny import QWEN_TINY, tiny_tokenizer

transformers = pytest.importorskip("transformers")

HORIZON = 4
TEXTS = ("lift the red cube with the left arm", "push it")
TINY_3_5 = {
    "model_type": "qwen3_5",
    "image_token_id": 4,
    "video_token_id": 5,
    "vision_start_token_id": 2,
    "vision_end_token_id": 3,
    "text_config": {
        "model_type": "qwen3_5_text",
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_interleaved": True,
            "mrope_section": [2, 1, 1],
        },
    },
    "vision_config": {
        "model_type": "qwen3_5",
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
    },
}
FAMILIES = {
    "qwen3_vl": QWEN_TINY,
    "qwen3_5": replace(QWEN_TINY, architecture=TINY_3_5),
}


def config_of(family: str, head: str = "oft", **changes: Any) -> PolicyConfig:
    tiny = preset("qwen-tiny", head, dof=14, horizon=HORIZON)
    return replace(tiny, cameras=2, backbone=replace(FAMILIES[family], **changes), image_size=(96, 64))


def pictures_of(count: int, cameras: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, cameras, 64, 96, 3), dtype=np.uint8)


def batch_of(config: PolicyConfig, texts: tuple[str, ...] = TEXTS, max_tokens: int = 256) -> Inputs:
    codec = QwenCodec.for_policy(config, tiny_tokenizer(), max_tokens)
    words = torch.from_numpy(np.stack([codec.encode(text) for text in texts]))
    state = torch.randn(len(texts), 14, generator=torch.Generator().manual_seed(2))
    return Inputs(pictures_to_tensor(pictures_of(len(texts))), words, state)


@pytest.fixture(scope="module")
def processor() -> Any:
    from tokenizers import Tokenizer
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_buffer(tiny_tokenizer()), pad_token="<|endoftext|>"
    )
    tokenizer.padding_side = "right"
    images = Qwen2VLImageProcessor(
        patch_size=16,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        size={"shortest_edge": 64 * 64, "longest_edge": 2**24},
    )
    return Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor())


def their_inputs(processor: Any, texts: tuple[str, ...], count: int) -> Any:
    ask = f" Please predict the next {HORIZON} robot actions: <action>{'🔍' * HORIZON}<action>."
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    prompts = [
        f"<|im_start|>user\n{picture * 2}{text}{ask}<|im_end|>\n<|im_start|>assistant\n" for text in texts
    ]
    pictures = [torch.from_numpy(p).permute(2, 0, 1) for p in pictures_of(count).reshape(-1, 64, 96, 3)]
    return processor(images=pictures, text=prompts, padding=True, return_tensors="pt")


def test_patches_prompts_and_types_are_those_of_the_processor(processor: Any) -> None:
    theirs = their_inputs(processor, TEXTS, 2)
    inputs = batch_of(config_of("qwen3_vl"))
    ours = patchify(inputs.pictures.flatten(0, 1), 16, 2, 2)
    assert torch.allclose(ours, theirs["pixel_values"], atol=1e-6)
    used = theirs["input_ids"].shape[1]
    assert torch.equal(inputs.words[:, :used], theirs["input_ids"])
    assert (inputs.words[:, used:] == QWEN_TINY.pad_id).all()
    assert torch.equal((inputs.words[:, :used] != 1).long(), theirs["attention_mask"])
    image = inputs.words[:, :used] == 4
    assert torch.equal(image.long(), theirs["mm_token_type_ids"].long())
    network = build_network(config_of("qwen3_vl"), 0)
    assert torch.equal(network.backbone._grid_thw(4, torch.device("cpu")), theirs["image_grid_thw"])


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_those_of_the_model(family: str, processor: Any) -> None:
    theirs = their_inputs(processor, TEXTS, 2)
    model = build_model(FAMILIES[family].architecture)
    wanted, _ = model.get_rope_index(
        theirs["input_ids"],
        mm_token_type_ids=theirs["mm_token_type_ids"],
        image_grid_thw=theirs["image_grid_thw"],
        attention_mask=theirs["attention_mask"],
    )
    ours = positions(theirs["input_ids"] == 4, theirs["attention_mask"].bool(), (2, 3))
    assert torch.equal(ours, wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_those_of_the_model_alone(family: str, processor: Any) -> None:
    network = build_network(config_of(family), 0).eval()
    theirs = their_inputs(processor, TEXTS, 2)
    with torch.no_grad():
        wanted = network.backbone.model(**theirs).last_hidden_state
        encoded = network.backbone(batch_of(config_of(family)), torch.zeros(HORIZON, 32))
    keep = theirs["attention_mask"].bool()
    assert torch.equal(encoded.keep_bn, keep)
    assert torch.allclose(encoded.context[keep], wanted[keep], atol=1e-5)
    asked = theirs["input_ids"] == QWEN_TINY.placeholder_id
    assert torch.allclose(encoded.queries, wanted[asked].view(2, HORIZON, -1), atol=1e-5)


def test_pictures_of_another_size_are_resized_like_the_processor_does(processor: Any) -> None:
    y, x, channel = np.mgrid[0:48, 0:80, 0:3]
    small = (127 + 100 * np.sin(y / 7 + channel) * np.cos(x / 9)).astype(np.uint8)[None]
    network = build_network(config_of("qwen3_vl"), 0)
    ours = network.backbone._patches(pictures_to_tensor(small)[None])
    assert ours.shape == (4 * 6, 3 * 2 * 16 * 16)
    resized = processor.image_processor.resize(
        torch.from_numpy(small).permute(0, 3, 1, 2),
        size=transformers.image_utils.SizeDict(height=64, width=96),
        resample=3,
    )
    wanted = patchify(pictures_to_tensor(resized.permute(0, 2, 3, 1).numpy()), 16, 2, 2)
    assert (ours - wanted).abs().max() < 1.5 / 127.5  # theirs rounds to bytes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["oft", "flow"])
def test_longer_neighbors_change_nothing(family: str, head: str) -> None:
    """Padding at the end is invisible: causal attention, causal state, and a mask for the flow head."""
    config = config_of(family, head)
    network = build_network(config, 0).eval()
    both = batch_of(config)
    alone = Inputs(*(part[1:] for part in both))
    pair = network.backbone(both, network.head.queries)
    single = network.backbone(alone, network.head.queries)
    used = single.context.shape[1]
    assert pair.context.shape[1] > used
    assert torch.allclose(pair.context[1, :used], single.context[0], atol=1e-5)
    assert torch.allclose(pair.queries[1:], single.queries, atol=1e-5)
    noise = torch.zeros(2, HORIZON, 14)
    if head == "flow":
        one, other = (
            network.head.velocity(e, s, n, torch.zeros(len(n)))
            for e, s, n in ((pair, both.state, noise), (single, alone.state, noise[:1]))
        )
        assert torch.allclose(one[1:], other, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["oft", "flow"])
def test_left_and_right_pictures_and_cameras_reach_the_targets(family: str, head: str) -> None:
    config = config_of(family, head)
    network = build_network(config, 0).eval()
    plain = batch_of(config, TEXTS[:1])
    right = batch_of(config, (TEXTS[0].replace("left", "right"),))
    assert not torch.equal(plain.words, right.words)
    swapped = plain._replace(pictures=plain.pictures.flip(1))
    acts = [network.act(x) for x in (plain, right, swapped)]
    for other in acts[1:]:
        assert not torch.allclose(acts[0], other, atol=1e-6)


def test_state_is_added_to_the_queries_where_it_is_used() -> None:
    config = config_of("qwen3_vl")
    seeing = replace(config, use_state=True)
    base = batch_of(config)
    moved = base._replace(state=base.state + 1.0)
    for policy, same in ((config, True), (seeing, False)):
        network = build_network(policy, 0).eval()
        assert torch.equal(network.act(base), network.act(moved)) is same
    assert not any("backbone.state" in n for n in build_network(config, 0).state_dict())
    flow = build_network(replace(config_of("qwen3_vl", "flow"), use_state=True), 0)
    assert not any("backbone.state" in n for n in flow.state_dict())  # the head's token carries it
    assert any("head.state" in n for n in flow.state_dict())


def test_prompts_of_another_layout_are_refused() -> None:
    network = build_network(config_of("qwen3_vl"), 0)
    batch = batch_of(config_of("qwen3_vl", "flow"))
    with pytest.raises(PolicyError, match="other pictures or placeholders"):
        network.act(batch)
    good = batch_of(config_of("qwen3_vl"))
    with pytest.raises(PolicyError, match="other pictures or placeholders"):
        network.act(good._replace(pictures=good.pictures[:, :1]))


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_language_model_with_a_float32_head(family: str) -> None:
    config = config_of(family, weights="bfloat16", compute="bfloat16", gradient_checkpointing=True)
    network = build_network(config, 0)
    batch = batch_of(config)
    loss = network.loss(batch, torch.zeros(2, HORIZON, 14), torch.ones(2, HORIZON, dtype=torch.bool))
    loss.backward()
    assert loss.dtype == torch.float32
    types = {n: p.dtype for n, p in network.named_parameters()}
    assert all((t == torch.bfloat16) is n.startswith("backbone.model") for n, t in types.items())
    assert all(p.grad is not None for p in network.parameters())
    assert all(b.dtype == torch.float32 for n, b in network.named_buffers() if "inv_freq" in n)
    weights = network_weights(network)
    bits = {n for n, w in weights.items() if w.dtype == np.uint16}
    assert bits == {n for n, t in types.items() if t == torch.bfloat16}
    restored = restore_network(config, weights)
    assert torch.equal(restored.act(batch), network.eval().act(batch))
    full = build_network(config_of(family), 0).eval()
    assert torch.allclose(full.act(batch), network.act(batch), atol=0.1)
    with pytest.raises(PolicyError, match="lose bits"):
        restore_network(config, network_weights(full))


def test_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        config = config_of("qwen3_vl", gradient_checkpointing=checkpointing)
        network = build_network(config, 0)
        seen: list[int] = []
        layer = network.backbone.model.language_model.layers[0].mlp
        layer.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        valid = torch.ones(2, HORIZON, dtype=torch.bool)
        network.loss(batch_of(config), torch.zeros(2, HORIZON, 14), valid).backward()
        gradients.append({n: p.grad for n, p in network.named_parameters()})
        assert len(seen) == 1 + checkpointing  # the forward pass is repeated
    assert all(torch.allclose(g, gradients[1][n], atol=1e-6) for n, g in gradients[0].items())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models as a hub would hold them, with their language-model heads."""
    folders = {}
    for family, part in FAMILIES.items():
        torch.manual_seed(11)
        configuration, _, model = (getattr(transformers, name) for name in CLASSES[family])
        folder = tmp_path_factory.mktemp(family)
        model(configuration.from_dict(dict(part.architecture))).save_pretrained(folder)
        (folder / "tokenizer.json").write_bytes(tiny_tokenizer())
        folders[family] = folder
    return folders


@pytest.mark.parametrize("family", FAMILIES)
def test_policy_starts_from_a_published_folder(family: str, published: dict[str, Path]) -> None:
    folder = published[family]
    part, tokenizer = configure(folder)
    assert (part.placeholder_id, part.pad_id) == (8, 1)
    assert tokenizer == tiny_tokenizer()
    config = with_source(config_of(family), folder)
    assert isinstance(config.backbone, QwenConfig)
    assert config.backbone.compute == "float32"
    assert PolicyConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    network = build_network(config, 0)
    head = network.head.queries.clone()
    load_pretrained(network, folder)
    for name, value in (
        transformers.AutoModelForImageTextToText.from_pretrained(folder).model.state_dict().items()
    ):
        assert torch.equal(network.backbone.model.state_dict()[name], value), name
    assert torch.equal(network.head.queries, head)
    batch = batch_of(config)
    restored = restore_network(config, network_weights(network))
    assert torch.equal(restored.act(batch), network.eval().act(batch))


def test_a_source_that_is_not_whole_is_refused(published: dict[str, Path], tmp_path: Path) -> None:
    folder = published["qwen3_vl"]
    with pytest.raises(PolicyError, match="lacks a part"):
        configure(tmp_path)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = with_source(config_of("qwen3_vl"), tmp_path)
    with pytest.raises(PolicyError, match="lacks a part"):
        load_pretrained(build_network(config, 0), tmp_path)
    smaller = config_of("qwen3_vl")
    text = {**smaller.backbone.architecture["text_config"], "num_hidden_layers": 1}
    architecture = {**smaller.backbone.architecture, "text_config": text}
    other = build_network(replace(smaller, backbone=replace(smaller.backbone, architecture=architecture)), 0)
    with pytest.raises(PolicyError, match="do not fit the language model"):
        load_pretrained(other, folder)
    document = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**document, "model_type": "llama"}))
    with pytest.raises(PolicyError, match="another family"):
        configure(tmp_path)
    with pytest.raises(PolicyError, match="does not start from"):
        with_source(preset("compact", dof=14, horizon=4, vocabulary_size=5), folder)


def test_nothing_is_downloaded_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[bool] = []

    def fetch(name: str, file: str, *, local_files_only: bool) -> str:
        asked.append(local_files_only)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    with pytest.raises(PolicyError, match="lacks a part") as caught:
        configure("Qwen/Qwen3-VL-4B-Instruct")
    assert asked == [True]
    assert "allow the download" in caught.value.remedy


def test_impossible_language_models_are_refused() -> None:
    with pytest.raises(PolicyError, match="another family"):
        build_model({"model_type": "llama"})
    broken = {**QWEN_TINY.architecture, "text_config": {"hidden_size": "wide"}}
    with pytest.raises(PolicyError, match="cannot build"):
        build_model(broken)
    for changes in ({"weights": "int8"}, {"weights": "bfloat16", "compute": "float32"}):
        with pytest.raises(PolicyError, match="impossible"):
            replace(QWEN_TINY, **changes)


@pytest.mark.parametrize(("name", "billions"), [("qwen3-vl-4b", 4.44), ("qwen3.5-4b", 4.54)])
def test_paper_presets_have_the_size_of_their_name(name: str, billions: float) -> None:
    part = preset(name, dof=14, horizon=16).backbone
    with torch.device("meta"):
        model = build_model(part.architecture)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(billions * 1e9, rel=0.01)
    assert model.config.text_config.hidden_size == 2560
