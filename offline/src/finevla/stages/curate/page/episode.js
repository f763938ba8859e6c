"use strict";
// One episode: its facts and its video strip, beside the one that its reason names.

function stripOf(row, lead) {
  const name = nameOf(row), {failed, without, limit, frames} = state.data.strips;
  const caption = element("p", {}, element("b", {}, `${lead}${name}`), ` \u2014 ${verdict(row)}: ${field("reason", row)}`);
  if (state.strips[name]) {
    const alt = `${frames} frames of ${name}, from the first to the last`;
    return [caption, element("img", {class: "videostrip", alt, src: `data:image/jpeg;base64,${state.strips[name]}`})];
  }
  const why = failed[name] ?? without[field("dataset", row)];
  const words = why ? `No strip: ${why}.` : `No strip: it is not among the ${number(limit)} that this page has room for.`;
  return [caption, element("p", {class: failed[name] ? "bad" : "dim"}, words)];
}

// The episode that the reason names, if any: its representative, or that of which it is a copy.
function namedIn(row) {
  const found = String(field("reason", row)).split(/\s+/).map(word => state.rowOf.get(word.replace(/[,;:.]+$/, "")));
  return found.find(other => other !== undefined && other !== row) ?? null;
}

function showEpisode(row, against = null) {
  state.picked = row;
  const other = against ?? namedIn(row), group = field("group", row);
  const place = state.data.groups.findIndex(found => found.id === group);
  const facts = [`dataset ${field("dataset", row)}, episode ${field("index", row)}`, field("task", row),
    group === null ? "in no group" : `group ${group}`,
    field("cluster", row) === null ? null : `cluster ${field("cluster", row)}`,
    `${number(field("frames", row))} frames`,
    field("distance", row) === null ? null : `distance ${number(field("distance", row))}`];
  $("episode-title").textContent = nameOf(row);
  $("episode-body").replaceChildren(
    element("p", {class: "facts"}, facts.filter(Boolean).join(" \u00b7 "),
      place >= 0 && place !== state.group ? element("span", {}, " \u00b7 ",
        link("show its group", () => showGroup(place, true))) : null),
    element("div", {class: "two"}, ...stripOf(row, ""), ...(other === null ? [] : stripOf(other, "Beside it: "))));
  $("drawer").hidden = false;
  state.tables.episodes.mark(row);
  ringAround();
}

function ringAround() {
  const group = drawn();
  if (!group || !group.points) return;
  const mark = ring(group, state.picked === null ? null : group.leaves.indexOf(state.picked));
  Plotly.restyle("points", {x: [mark.x], y: [mark.y]}, [MARKS.length]);
}

function closeDrawer() {
  $("drawer").hidden = true;
  state.picked = null;
  state.tables.episodes.mark(null);
  ringAround();
}
