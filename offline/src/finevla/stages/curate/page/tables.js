"use strict";
// Elements and tables. Text becomes text nodes only, so that nothing of a dataset is read as markup.

const $ = id => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

function number(value, digits = 3) {
  if (value === null || value === undefined) return "";
  return Number.isInteger(value) ? value.toLocaleString("en") : Number(value.toPrecision(digits)).toString();
}

const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

// A table that sorts by its header buttons and grows on demand.
// columns: {title, of(row) for sorting, cell(row) for showing, n: right-aligned}
class Table {
  constructor(mount, columns, {pick = null, key = row => row, page = 60, label = "", sort = null} = {}) {
    Object.assign(this, {mount, columns, pick, key, page, current: null, rows: []});
    [this.by, this.down] = sort || [null, false];
    this.shown = page;
    this.body = element("tbody");
    this.heads = columns.map((column, i) => element("th", {scope: "col", class: column.n ? "n" : null},
      element("button", {type: "button", onclick: () => this.sort(i)}, column.title)));
    mount.append(element("table", {"aria-label": label},
      element("thead", {}, element("tr", {}, ...this.heads)), this.body));
  }

  sort(i) {
    this.down = this.by === i ? !this.down : Boolean(this.columns[i].n);
    this.by = i;
    this.draw();
  }

  fill(rows) {
    this.rows = rows;
    this.shown = this.page;
    this.draw();
  }

  sorted() {
    if (this.by === null) return this.rows;
    const of = this.columns[this.by].of, sign = this.down ? -1 : 1;
    const empty = value => value === null || value === undefined;
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
      : String(a).localeCompare(String(b), "en", {numeric: true});
    return this.rows.slice().sort((one, other) => {
      const a = of(one), b = of(other);
      return empty(a) || empty(b) ? empty(a) - empty(b) : sign * compare(a, b);
    });
  }

  draw() {
    this.heads.forEach((head, i) => {
      if (i === this.by) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      const arrow = i === this.by ? (this.down ? " \u25bc" : " \u25b2") : "";
      head.firstChild.textContent = this.columns[i].title + arrow;
    });
    const rows = this.sorted(), left = rows.length - this.shown;
    this.body.replaceChildren(...rows.slice(0, this.shown).map(row => this.line(row)));
    if (left > 0) {
      const more = () => { this.shown += 10 * this.page; this.draw(); };
      this.body.append(element("tr", {class: "more"}, element("td", {colspan: this.columns.length},
        element("button", {type: "button", onclick: more}, `Show more (${number(left)} left)`))));
    }
    this.mark(this.current);
  }

  line(row) {
    const cells = this.columns.map(column => {
      const shown = column.cell ? column.cell(row) : number(column.of(row));
      return element("td", {class: column.n ? "n" : null}, shown);
    });
    const pick = event => { if (!event.target.closest("td button:not(.link)")) this.pick(row); };
    return element("tr", {"data-key": this.key(row), onclick: this.pick && pick}, ...cells);
  }

  mark(key) {
    this.current = key;
    for (const line of this.body.children) {
      if (line.dataset.key === String(key)) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
  }
}
