"use strict";
// What Plotly draws of a group. Everything is in the order of the leaves; -1 is "in no cluster".

const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#c0569b", "#7a5fd0", "#a87b00", "#1f9fc4", "#a0522d", "#d6336c",
  "#5b8c2a"];
const OTHER = "#8a929b";
// Plotly's own button would upload the figure to its maker's cloud: there is none here.
const CONFIG = {displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]};
const BAR = 28; // room for Plotly's buttons above a figure, px
const MARKS = [
  {name: "member", symbol: "circle", size: 8},
  {name: "representative", symbol: "star", size: 17},
  {name: "medoid, not a representative", symbol: "diamond", size: 11},
  {name: "outlier", symbol: "x", size: 10},
];
const SIDE = {l: 56, r: 78};

const color = number => number < 0 ? OTHER : PALETTE[number % PALETTE.length];
const shown = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function base(height, extra = {}) {
  const axis = {gridcolor: shown("--line"), zeroline: false, linecolor: shown("--line"), automargin: false};
  return {
    height, margin: {...SIDE, t: 8, b: 34}, showlegend: false, hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui,sans-serif", size: 12, color: shown("--ink")},
    hoverlabel: {align: "left", namelength: -1},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: shown("--dim"), activecolor: shown("--ink")}, ...extra,
    xaxis: {...axis, ...extra.xaxis}, yaxis: {...axis, ...extra.yaxis},
  };
}

// Clusters of the leaves where merges of at most `height` have happened; see figures.py.
function labelsAt(joins, height) {
  const labels = [0];
  for (const join of joins) labels.push(labels[labels.length - 1] + (join > height ? 1 : 0));
  return labels;
}

// A colour number for each leaf: clusters ranked by the lowest birth among their leaves.
function colorsOf(labels, births) {
  const lowest = new Map();
  labels.forEach((label, leaf) => {
    if (label >= 0) lowest.set(label, Math.min(lowest.get(label) ?? Infinity, births[leaf]));
  });
  const ranked = [...lowest].sort((a, b) => a[1] - b[1]).map(entry => entry[0]);
  const number = new Map(ranked.map((label, rank) => [label, rank]));
  return labels.map(label => number.get(label) ?? -1);
}

// Stretches of neighbouring leaves in one cluster: [first, last + 1, colour].
function runsOf(labels, colors) {
  const runs = [];
  labels.forEach((label, leaf) => {
    if (leaf && label === labels[leaf - 1] && label >= 0) runs[runs.length - 1][1] = leaf + 1;
    else runs.push([leaf, leaf + 1, colors[leaf]]);
  });
  return runs;
}

function treeTraces(tree, labels, colors) {
  const runOf = [];
  runsOf(labels, colors).forEach(([first, end], run) => { for (let i = first; i < end; i++) runOf[i] = run; });
  const lines = new Map(), links = tree.links;
  links.h.forEach((h, i) => {
    const one = runOf[links.first[i]] === runOf[links.last[i]] && labels[links.first[i]] >= 0;
    const paint = one ? color(colors[links.first[i]]) : OTHER;
    if (!lines.has(paint)) lines.set(paint, {x: [], y: []});
    lines.get(paint).x.push(links.x0[i], links.x0[i], links.x1[i], links.x1[i], null);
    lines.get(paint).y.push(links.y0[i], h, h, links.y1[i], null);
  });
  return [...lines].map(([paint, line]) => (
    {...line, mode: "lines", type: "scatter", line: {color: paint, width: 1.6}, hoverinfo: "y"}));
}

function treeLayout(tree, n, height, own) {
  const level = (y, paint, dash) => (
    {type: "line", xref: "paper", x0: 0.04, x1: 1, y0: y, y1: y, line: {color: paint, width: 2, dash}});
  const shapes = [], annotations = [];
  if (own !== null) {
    shapes.push(level(own, shown("--bad"), "dot"));
    annotations.push({xref: "paper", x: 1, xanchor: "left", y: own, text: " stage's cut", showarrow: false,
      font: {color: shown("--bad"), size: 11}});
  }
  if (height !== null) shapes.push(level(height, shown("--focus"), "solid"));
  return base(270, {
    shapes, annotations, uirevision: "tree",
    margin: {...SIDE, t: BAR, b: 10},
    xaxis: {domain: [0.04, 1], range: [0, n], showticklabels: false, showgrid: false},
    yaxis: {title: {text: "height"}, rangemode: "tozero"},
  });
}

// The square of distances out of the packed upper triangle.
function unpackHeat(heat) {
  const size = heat.edges.length - 1, raw = bytesOf(heat.bytes);
  const steps = heat.levels > 255 ? new Uint16Array(raw.buffer) : raw;
  const rows = Array.from({length: size}, () => new Array(size).fill(null));
  let at = 0;
  for (let i = 0; i < size; i++) {
    for (let j = i; j < size; j++, at++) {
      if (steps[at] !== heat.levels) rows[i][j] = rows[j][i] = steps[at] * heat.step;
    }
  }
  return rows;
}

// What lies over the map: a white frame around each cluster, and its colour at the left. They are shapes, because
// Plotly moves those without drawing the map again.
function heatShapes(runs, n) {
  const bands = new Map();
  for (const [first, end, number] of runs) {
    const paint = color(number);
    bands.set(paint, `${bands.get(paint) ?? ""}M0,${first}H1V${end}H0Z`);
  }
  const band = ([fillcolor, path]) => (
    {type: "path", xref: "x2", yref: "y", path, fillcolor, line: {width: 0}, layer: "above"});
  const frames = runs.filter(([first, end]) => end - first > 1 && end - first < n)
    .map(([first, end]) => `M${first},${first}H${end}V${end}H${first}Z`).join("");
  const frame = {type: "path", xref: "x", yref: "y", path: frames, line: {color: "#ffffff", width: 2}, layer: "above"};
  return [...bands].map(band).concat(frames ? [frame] : []);
}

function heatTraces(heat, rows) {
  return [
    {type: "heatmap", x: heat.edges, y: heat.edges, z: rows, zmin: 0, zmax: heat.top, colorscale: "Viridis",
      hoverinfo: "none", colorbar: {title: {text: "distance", side: "right"}, thickness: 12, len: 1}},
    // An axis that has no trace is not drawn, nor are the shapes on it.
    {type: "scatter", xaxis: "x2", x: [null], y: [null], hoverinfo: "skip"},
  ];
}

function heatLayout(n, shapes) {
  const bare = {showgrid: false, showticklabels: false, ticks: ""};
  return base(500, {
    margin: {...SIDE, t: BAR, b: 8}, shapes,
    xaxis: {...bare, domain: [0.04, 1], range: [0, n]},
    xaxis2: {domain: [0, 0.028], range: [0, 1], visible: false, fixedrange: true},
    yaxis: {...bare, range: [n, 0]},
  });
}

function pointTraces(group, colors, hover) {
  return MARKS.map((mark, kind) => {
    const at = group.marks.map((m, i) => m === kind ? i : -1).filter(i => i >= 0);
    return {
      type: "scatter", mode: "markers", name: mark.name, showlegend: at.length > 0, customdata: at,
      x: at.map(i => group.points.x[i]), y: at.map(i => group.points.y[i]), text: at.map(hover),
      hovertemplate: "%{text}<extra></extra>",
      marker: {symbol: mark.symbol, size: kind || group.leaves.length < 1000 ? mark.size : 5, color: at.map(i => color(colors[i])),
        line: {color: shown(kind ? "--ink" : "--paper"), width: 1}},
    };
  });
}

function ring(group, leaf) {
  const at = leaf === null || leaf < 0 ? [] : [leaf];
  return {type: "scatter", mode: "markers", x: at.map(i => group.points.x[i]), y: at.map(i => group.points.y[i]),
    hoverinfo: "skip", showlegend: false,
    marker: {symbol: "circle-open", size: 24, color: shown("--ink"), line: {width: 3, color: shown("--ink")}}};
}

function pointLayout() {
  const bare = {showticklabels: false, ticks: "", title: {text: ""}};
  return base(420, {
    margin: {l: 10, r: 10, t: BAR, b: 46}, showlegend: true, legend: {orientation: "h", y: -0.02, yanchor: "top"},
    uirevision: "points", xaxis: bare, yaxis: {...bare, scaleanchor: "x"},
  });
}

// Bars of what was read with what was kept inside them; long names are cut, the hover has them whole.
function drawCounts(id, rows) {
  const cut = name => name.length > 46 ? name.slice(0, 45) + "\u2026" : name;
  const y = rows.map((_, i) => i);
  const text = rows.map(row => `${escaped(row.name)}<br>${row.kept} of ${row.read} kept`);
  const bar = (field, name, paint, width, opacity) => ({type: "bar", orientation: "h", y, name, width, opacity,
    x: rows.map(row => row[field]), marker: {color: paint}, hovertext: text, hovertemplate: "%{hovertext}<extra></extra>"});
  const kept = bar("kept", "kept", PALETTE[0], 0.8, 1);
  const ends = rows.map((row, i) => ({x: row.read, y: i, text: ` ${number(row.kept)} / ${number(row.read)}`,
    xanchor: "left", showarrow: false}));
  const most = Math.max(1, ...rows.map(row => row.read));
  return Plotly.newPlot(id, [bar("read", "read", shown("--dim"), 0.8, 0.4), kept], base(70 + 30 * rows.length, {
    barmode: "overlay", showlegend: true, legend: {orientation: "h", y: 1, yanchor: "bottom", traceorder: "normal"},
    margin: {l: 10, r: 12, t: 28, b: 30}, annotations: ends,
    xaxis: {title: {text: ""}, range: [0, most * 1.22], fixedrange: true},
    yaxis: {tickvals: y, ticktext: rows.map(row => escaped(cut(row.name))), autorange: "reversed", fixedrange: true,
      automargin: true, showgrid: false},
  }), {...CONFIG, displayModeBar: false});
}

// Plotly reads a few tags in its texts; a dataset must not be able to write them.
function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
