"use strict";
// Shows the runs behind a number in a dialog. The page's numbers are buttons; each names a set of
// runs. Texts only ever become text nodes, so that no name can become markup.

const report = (() => {
  const MOST_RUNS = 1000;
  const data = JSON.parse(document.getElementById("data").textContent);
  const dialog = document.getElementById("runs");

  /** An element with a text or with children. */
  function element(name, content = "", attributes = {}) {
    const made = document.createElement(name);
    made.append(...(Array.isArray(content) ? content : [content]));
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  /** A number with the minus sign that the page's other numbers have. */
  function fixed(value, digits = 2, sign = false) {
    if (value === null) return "\u2013";
    const text = value.toFixed(digits);
    const plain = Number(text) === 0 ? text.replace("-", "") : text;
    return (sign && value >= 0 ? "+" : "") + plain.replace("-", "\u2212");
  }

  const percent = (share) => (share === null ? "" : `${Number((100 * share).toPrecision(5))} %`);

  const FORMATS = {
    sparsity: percent,
    score: (value) => fixed(value),
    dense: (value) => fixed(value),
    "minus dense": (value) => fixed(value, 2, true),
    seconds: (value) => (value === null ? "" : fixed(value, 1)),
  };

  /** A table whose cells are texts or elements. */
  function table(columns, rows, isNumber) {
    const cell = (name, content, index) =>
      element(name, content, isNumber(index) ? { class: "right" } : {});
    const head = columns.map((column, index) => {
      const made = cell("th", column, index);
      made.scope = "col";
      return made;
    });
    const body = rows.map((row) => element("tr", row.map((value, i) => cell("td", value, i))));
    return element("table", [element("thead", [element("tr", head)]), element("tbody", body)]);
  }

  /** A row of a packed table as an object: texts that are repeated are listed once. */
  function unpacked({ columns, texts, rows }, place) {
    const text = (name, value) => (texts[name] ? texts[name][value] : value);
    return Object.fromEntries(columns.map((name, i) => [name, text(name, rows[place][i])]));
  }

  /** A run as an object, with its difference from dense. */
  function runAt(place) {
    const { seconds = null, key, ...run } = unpacked(data.runs, place);
    const isCompared = run.network !== "dense" && run.score !== null && run.dense !== null;
    return { ...run, "minus dense": isCompared ? run.score - run.dense : null, seconds, key };
  }

  /** The runs in a table, without the columns that are empty in all of them. */
  function runsTable(places) {
    const runs = places.slice(0, MOST_RUNS).map(runAt);
    const isThere = (value) => value !== null && value !== "";
    const names = Object.keys(runs[0]).filter((name) => runs.some((run) => isThere(run[name])));
    const shown = (name, value) => (FORMATS[name] ?? ((text) => text ?? ""))(value);
    return table(
      names,
      runs.map((run) => names.map((name) => shown(name, run[name]))),
      (index) => names[index] in FORMATS || names[index] === "seed",
    );
  }

  /** Opens the dialog; Escape or its button closes it, and the focus goes back. */
  function show(title, places) {
    const count = `${places.length} run${places.length === 1 ? "" : "s"}`;
    document.getElementById("runs-heading").textContent = `${title}: ${count}`;
    const more = places.length - MOST_RUNS;
    dialog.querySelector(".scroll").replaceChildren(
      runsTable(places),
      ...(more > 0 ? [element("p", `${more} more runs are not listed.`)] : []),
    );
    dialog.showModal();
  }

  /** A number that shows its runs. */
  function button(text, places, title = text) {
    const made = element("button", text, { type: "button", "data-runs": "" });
    made.addEventListener("click", () => show(title, places));
    return made;
  }

  document.addEventListener("click", (event) => {
    const set = event.target.closest?.("button[data-runs]")?.dataset.runs;
    if (set) show(event.target.closest("button").textContent, data.sets[set]);
  });
  document.getElementById("runs-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  return { data, unpacked, element, table, fixed, percent, button, show };
})();
