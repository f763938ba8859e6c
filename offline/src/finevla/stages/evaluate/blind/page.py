"""The page on which a person rates videos without knowing what was asked.

One file beside the videos, without a network. It names neither instructions nor pairs nor the order of
the runs; answers stay in the browser until they are saved as `answers.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from finevla.sim.factors import FACTORS
from finevla.sim.tasks import task_named
from finevla.stages.evaluate.blind.answers import NONE, questions
from finevla.stages.evaluate.blind.key import Key
from finevla.stages.media import STYLE

PAGE_NAME, ANSWERS_NAME = "score.html", "answers.json"

_STYLE = """
article{border:1px solid var(--line);border-radius:10px;padding:12px;margin:0 0 18px}
article.complete{border-color:var(--good)}fieldset{border:0;padding:0;margin:10px 0 0}
legend{font-weight:600;padding:0}label{display:inline-block;margin:2px 16px 2px 0;cursor:pointer}
.bar{position:sticky;top:0;background:var(--paper);padding:10px 0;z-index:1}
button{font:inherit;padding:6px 16px;border-radius:8px;border:1px solid var(--line);background:var(--card);
color:var(--ink);cursor:pointer}
"""
_SCRIPT = """
const SEAL=__SEAL__, STORE="finevla-blind-"+SEAL;
const form=document.getElementById("form"), count=document.getElementById("count");
let answers={};
try{answers=JSON.parse(localStorage.getItem(STORE)||"{}")}catch(error){answers={}}
function fields(article){return [...article.querySelectorAll("fieldset")].map(f=>f.dataset.field)}
function show(){
  let complete=0; const articles=[...document.querySelectorAll("article")];
  for(const article of articles){
    const given=answers[article.dataset.name]||{}, all=fields(article).every(f=>f in given);
    article.classList.toggle("complete",all); complete+=all;
  }
  count.textContent=complete+" of "+articles.length+" videos answered";
}
for(const input of form.querySelectorAll("input")){
  const [name,field]=input.name.split(":");
  if((answers[name]||{})[field]===input.value)input.checked=true;
}
form.addEventListener("change",event=>{
  const [name,field]=event.target.name.split(":");
  (answers[name]=answers[name]||{})[field]=event.target.value;
  try{localStorage.setItem(STORE,JSON.stringify(answers))}catch(error){count.title=String(error)}
  show();
});
document.getElementById("save").addEventListener("click",()=>{
  const text=JSON.stringify({seal:SEAL,answers:answers},null,2)+"\\n";
  const link=document.createElement("a");
  link.href=URL.createObjectURL(new Blob([text],{type:"application/json"}));
  link.download=__ANSWERS__; link.click(); setTimeout(()=>URL.revokeObjectURL(link.href),1000);
});
show();
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One video: its name, what the task is, and the values that can be answered, by factor."""

    name: str
    task: str
    options: Mapping[str, Sequence[str]]


def items(key: Key) -> tuple[Item, ...]:
    """The videos in the order in which they are shown, that of their random names."""
    return tuple(
        Item(run.name, key.pairs[run.pair].spec.task, questions(key.pairs[run.pair])) for run in key.videos
    )


def render(shown: Sequence[Item], seal: str) -> str:
    """The whole page.

    Args:
        shown: As `items` gives them.
        seal: Of the key; goes into the answers.
    """
    articles = "".join(_article(i, item, len(shown)) for i, item in enumerate(shown, start=1))
    script = _SCRIPT.replace("__SEAL__", json.dumps(seal)).replace("__ANSWERS__", json.dumps(ANSWERS_NAME))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>What does the robot do?</title><style>{STYLE}{_STYLE}</style></head><body>"
        "<h1>What does the robot do?</h1>"
        f"<p>{len(shown)} videos in random order. Answer what you see, not what you expect: nobody tells "
        "here what the robot was asked to do. Left and right are the robot's own, clockwise is as seen from "
        "above. Where the arms come in from the bottom of the picture, the robot's left is the picture's "
        "left. Answers stay in this browser until you save them.</p>"
        '<div class="bar"><button id="save" type="button">Save answers.json</button> '
        '<span id="count" class="dim"></span></div>'
        f'<form id="form" autocomplete="off">{articles}</form><script>{script}</script></body></html>\n'
    )


def _article(number: int, item: Item, total: int) -> str:
    fields = "".join(
        _field(item.name, name, FACTORS[name].title, [*((value, _words(name, value)) for value in options)])
        for name, options in item.options.items()
    )
    done = _field(
        item.name,
        "done",
        "task done, with whichever object, arm and manner",
        [("yes", "yes"), ("no", "no")],
        other=False,
    )
    return (
        f'<article data-name="{escape(item.name)}"><p class="dim">Video {number} of {total}. The task: '
        f"{escape(task_named(item.task).summary)}.</p>"
        f'<video controls muted playsinline preload="metadata" src="{escape(item.name)}.mp4"></video>'
        f"{fields}{done}</article>"
    )


def _words(name: str, value: str) -> str:
    return value.replace(" ", " then ") if name == "order" else value


def _field(
    video: str, name: str, title: str, options: Sequence[tuple[str, str]], *, other: bool = True
) -> str:
    choices = [*options, (NONE, "none of these / cannot tell")] if other else options
    radios = "".join(
        f'<label><input type="radio" name="{escape(video)}:{escape(name)}" value="{escape(value)}"> '
        f"{escape(words)}</label>"
        for value, words in choices
    )
    return f'<fieldset data-field="{escape(name)}"><legend>{escape(title)}</legend>{radios}</fieldset>'
