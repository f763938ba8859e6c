"""Paired evaluation: the protocol and what its figures mean.

A pair is one scene and two instructions that differ in one factor only. Both are run from the same
start. A run complies if its behaviour showed the value that its own instruction names (rules:
`finevla.sim.factors`). Per row of the result:

* `n` - pairs; `runs` - runs that are counted: two per pair, one in the row `ood`.
* `compliance` - share of runs that complied; `success` - share of runs whose task was done as asked;
  `points` - mean of the rubric of `finevla.sim.score`, 0 to 100.
* `switch_rate` - share of pairs in which both runs complied: the words changed, and so did the
  behaviour, the right way. `changed` - share of pairs in which the behaviour differed at all in that
  factor. `changed_only` - share of pairs in which it was the same in every *other* factor that the
  sentences name: with `switch_rate`, it changed when, and only when, the words did.
* `chance` - expected compliance of whoever does not hear the words: mean of 1 / (number of values
  possible in the scene), for `ood` of the product over arm and bowl. `at_chance` - whether `ci95` holds it.
* `refused` - runs whose sentence was refused; nothing moved, and they count as not complied.
* `mcnemar` - the instruction against another one: per pair, whether the (first counted) run matches its
  own instruction, and whether the run with the other's words matches it too. `both`, `own_only`,
  `other_only`, `neither` count the four cases; `p` is the exact two-sided p value of own_only against
  other_only. Whoever does not hear the words has them alike; an obedient one has `own_only` only, one
  that turns the words around `other_only` only.
* `ci95`, `success_ci95`, `switch_ci95`, `changed_only_ci95` - Wilson intervals with the *pairs* as
  trials. The two runs of a pair share a scene, so counting them as two independent trials would claim
  too much.
* `bootstrap95`, `points_ci95` - percentile bootstrap over pairs (`statistics.METHOD`). Where all pairs
  went alike it has no width; for shares Wilson's interval, which has one, is therefore the one shown.
* `passed_over` - seeds whose scene allows no second value; `values` - how often each was asked for.

`avg_id` is the mean compliance over the rows of the training distribution, `avg_all` over all rows,
`ood` included: 0 to 100, every row weighs alike. `avg_id_ci95` is Wilson's with the pairs of all rows as
trials, `avg_id_bootstrap95` draws the pairs of each row by itself.

Probes change the form of a sentence or take its sense away (`finevla.sim.language.probes`). `refused`
is as expected where the sentence was refused or the arms stayed where they were, `same` where every
factor that the plain sentence names was complied with.
"""

from __future__ import annotations

from finevla.stages.evaluate.count import summarize
from finevla.stages.evaluate.outcome import Outcome, ProbeResult, RunResult, run_rows
from finevla.stages.evaluate.plan import Pair, plan_pairs

__all__ = ["Outcome", "Pair", "ProbeResult", "RunResult", "plan_pairs", "run_rows", "summarize"]
