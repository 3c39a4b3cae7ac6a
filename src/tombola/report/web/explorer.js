"use strict";
// Draws the networks that a reader chooses, and lists them below the charts: what a chart shows to
// the mouse, the list gives to the keyboard. Texts only ever become text nodes.

(() => {
  const { data, unpacked, element, table, fixed, percent, button, show } = report;
  const { baselines, charts } = data.explorer;
  const networks = data.explorer.networks.rows.map((_, i) => unpacked(data.explorer.networks, i));
  const place = document.getElementById("explorer");
  const HIGHEST = "highest of each task";
  const EVERY = "every finder";
  const MEASURES = ["score", "minus dense"];
  const LISTED = "The list below has its numbers.";
  const distinct = (values) => [...new Set(values)];

  // --- choices -------------------------------------------------------------

  const choices = {};

  /** A labelled list to choose from. */
  function choice(label, options, name) {
    const items = options.map(([value, text]) => element("option", text, { value }));
    const list = element("select", items);
    list.name = name;
    list.addEventListener("change", draw);
    choices[name] = list;
    return element("label", [label, list]);
  }

  const same = (values) => values.map((value) => [value, value]);

  function form() {
    const sparsities = distinct(networks.map((one) => one.sparsity).filter((one) => one !== null));
    const atSparsity = sparsities.sort((a, b) => a - b).map((one) => [one, percent(one)]);
    const plans = distinct(networks.map((one) => one.plan));
    const made = element("form", [
      choice("plan", same(plans), "plan"),
      choice("task", same(distinct(networks.map((one) => one.task))), "task"),
      choice("finder", same([EVERY, ...distinct(networks.map((one) => one.finder))]), "finder"),
      choice("sparsity", [[HIGHEST, HIGHEST], ...atSparsity], "sparsity"),
      choice("shown", same(MEASURES), "measure"),
    ]);
    made.addEventListener("submit", (event) => event.preventDefault());
    if (plans.length === 1) choices.plan.parentElement.hidden = true;
    return made;
  }

  // --- what is chosen --------------------------------------------------------

  const chosen = (name) => choices[name].value;
  const isOfFinder = (one) => [EVERY, one.finder].includes(chosen("finder"));
  const ofPlan = (one) => one.plan === chosen("plan") && isOfFinder(one);
  const onTask = () => networks.filter((one) => ofPlan(one) && one.task === chosen("task"));

  function atSparsity() {
    const mine = networks.filter((one) => ofPlan(one) && one.minus !== null);
    if (chosen("sparsity") !== HIGHEST) {
      return mine.filter((one) => one.sparsity === Number(chosen("sparsity")));
    }
    const highest = {};
    for (const one of mine) highest[one.task] = Math.max(highest[one.task] ?? 0, one.sparsity);
    return mine.filter((one) => one.sparsity === highest[one.task]);
  }

  /** What a tooltip shows of a network. */
  function facts(one) {
    return {
      network: one.network,
      task: one.task,
      sparsity: percent(one.sparsity),
      seeds: `${one.done} of ${one.cells}`,
      score: fixed(one.score) + (one.sd === null ? "" : ` \u00b1 ${fixed(one.sd)}`),
      "minus dense": fixed(one.minus, 2, true),
      verdict: one.verdict,
      runs: one.runs,
    };
  }

  const between = (value, spread) => [value - (spread ?? 0), value + (spread ?? 0)];

  function curvePoint(one) {
    const isScore = chosen("measure") === "score";
    const y = isScore ? one.score : one.minus;
    const [low, high] = isScore ? between(y, one.sd) : one.interval ?? [y, y];
    return { ...facts(one), x: 100 * one.sparsity, y, low, high };
  }

  function densePoint(one) {
    const [low, high] = one.interval ?? [one.minus, one.minus];
    return { ...facts(one), margin: one.margin, x: one.minus, low, high };
  }

  function denseLines() {
    const isChosen = (one) => one.plan === chosen("plan") && one.task === chosen("task");
    const dense = baselines.find(isChosen);
    if (!dense || dense.score === null) return [];
    const y = chosen("measure") === "score" ? dense.score : 0;
    const lines = [{ y, name: `dense: ${fixed(dense.score)}` }];
    if (dense.margin !== null) {
      lines.push({ y: y - dense.margin, name: `dense minus the margin of ${dense.margin} points` });
    }
    return lines;
  }

  // --- charts ----------------------------------------------------------------

  const CONFIG = {
    background: "transparent",
    font: "Liberation Sans, Arial, Helvetica, sans-serif",
    view: { stroke: null },
    rule: { color: "var(--ink)" },
    tick: { color: "var(--ink)" },
    legend: { labelColor: "var(--ink)", labelFontSize: 12, columns: innerWidth < 600 ? 1 : 3 },
    axis: {
      labelColor: "var(--ink)", titleColor: "var(--ink)", gridColor: "var(--grid)",
      domainColor: "var(--line)", tickColor: "var(--line)", labelFontSize: 12, titleFontSize: 12,
      titleFontWeight: "normal",
    },
  };

  /** A chart with its data, and the looks of the networks in it. */
  function filled(chart, datasets) {
    const spec = structuredClone(chart);
    const names = distinct(datasets.points.map((one) => one.network));
    const tasks = distinct(datasets.points.map((one) => one.task));
    const looks = names.map((name) => networks.find((one) => one.network === name));
    for (const { encoding } of spec.layer) {
      if (encoding.color) {
        const range = looks.map((one) => `var(--c${one.colour})`);
        encoding.color.scale = { domain: names, range };
      }
      if (encoding.strokeDash) {
        encoding.strokeDash.scale = { domain: names, range: looks.map((one) => one.dash) };
      }
      if (encoding.shape) {
        encoding.shape.scale = { domain: names, range: looks.map((one) => one.shape) };
      }
    }
    return {
      ...spec,
      datasets: { ...spec.datasets, ...datasets },
      width: "container",
      height: spec.height ?? tasks.length * (12 * names.length + 14),
      autosize: { type: "fit-x", contains: "padding" },
    };
  }

  async function drawChart(id, chart, datasets, description) {
    const target = document.getElementById(id);
    if (datasets.points.length === 0) {
      target.replaceChildren(element("p", "No run of this choice is done."));
      return;
    }
    const spec = { ...filled(chart, datasets), description };
    const looks = { actions: false, renderer: "svg", config: CONFIG };
    const options = { ...looks, mode: "vega-lite", ast: true }; // ast: without eval
    const { view } = await vegaEmbed(target, spec, options);
    view.addEventListener("click", (_, item) => {
      if (item?.datum?.runs) show(`${item.datum.network} on ${item.datum.task}`, item.datum.runs);
    });
  }

  // --- the list of what is drawn -----------------------------------------------

  const COLUMNS = ["network", "task", "sparsity", "seeds", "score", "minus dense", "verdict"];
  const NUMBERS = ["score", "minus dense"];

  function listed(shown) {
    const cells = (one) => {
      const texts = facts(one);
      const number = (text) => button(text, one.runs, `${one.network} on ${one.task}`);
      const isNumber = (name) => one.score !== null && NUMBERS.includes(name);
      return COLUMNS.map((name) => (isNumber(name) ? number(texts[name]) : texts[name]));
    };
    return table(COLUMNS, shown.map(cells), (index) => index >= 2 && index <= 5);
  }

  function draw() {
    const onOne = onTask();
    const points = onOne.filter((one) => one.score !== null && one.sparsity !== null);
    const drawn = points.filter((one) => chosen("measure") === "score" || one.minus !== null);
    const curve = { points: drawn.map(curvePoint), lines: denseLines() };
    const every = atSparsity();
    document.getElementById("curve-heading").textContent = `${chosen("task")}: by sparsity`;
    document.getElementById("tasks-heading").textContent = `Every task: ${sparsityChosen()}`;
    document.getElementById("curve-list").replaceChildren(listed(onOne));
    document.getElementById("tasks-list").replaceChildren(listed(every));
    return Promise.all([
      drawChart("curve", charts.curve, curve,
        `Networks on ${chosen("task")}: ${chosen("measure")} against sparsity. ${LISTED}`),
      drawChart("tasks", charts.tasks, { points: every.map(densePoint) },
        `Every task, ${sparsityChosen()}: minus dense, in points. ${LISTED}`),
    ]).then(() => { place.dataset.drawn = String(Number(place.dataset.drawn ?? 0) + 1); });
  }

  function sparsityChosen() {
    const value = chosen("sparsity");
    return value === HIGHEST ? "at its highest sparsity" : `at ${percent(Number(value))}`;
  }

  function panel(id, caption) {
    const named = { id: `${id}-list`, "aria-label": `Numbers of the chart ${id}` };
    const list = element("div", "", { ...named, class: "scroll", tabindex: 0, role: "group" });
    return [
      element("h3", "", { id: `${id}-heading` }),
      element("p", caption, { class: "caption" }),
      element("div", "", { id, class: "chart" }),
      element("details", [element("summary", "The numbers of this chart"), list]),
    ];
  }

  place.append(
    form(),
    ...panel("curve", "Networks at one sparsity stand a little apart. Whiskers: one standard " +
      "deviation of the scores, or the interval of the difference. Dashed lines across: dense, " +
      "and dense minus the margin."),
    ...panel("tasks", "Mean difference from dense, with its interval. Short strokes: the margin; " +
      "what lies to the right of it with its whole interval matches."),
  );
  draw();
})();
