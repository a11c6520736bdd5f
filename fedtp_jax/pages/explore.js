// What makes a page's charts and tables answer; without it the page shows pictures.
(async () => {
  document.documentElement.dataset.scripts = "yes";
  const views = [];
  const signals = {};

  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  // of the clients that are chosen a chart heeds those that it draws: if it draws none, all look alike
  const heeded = (name, held) =>
    name === "chosen" ? signals.chosen.filter((client) => held.has(client)) : signals[name];

  const set = (name, value) => {
    signals[name] = value;
    for (const { view, held } of views) {
      if (name in view.getState().signals) view.signal(name, heeded(name, held)).runAsync();
    }
  };

  // a group of boxes is the list of those that are ticked, a choice its value
  const valueOf = (control) =>
    control.tagName === "SELECT"
      ? control.value
      : [...control.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value);

  for (const control of document.querySelectorAll("[data-signal]")) {
    const tell = () => set(control.dataset.signal, valueOf(control));
    control.addEventListener("change", tell);
    tell();
  }

  const number = (cell) => parseFloat(cell.textContent.replaceAll(",", ""));
  const order = (column, up) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if (x.className === "word") return up * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
    const [m, n] = [number(x), number(y)];
    if (Number.isNaN(m) || Number.isNaN(n)) {
      // what has no number stays below, both ways
      if (Number.isNaN(m) !== Number.isNaN(n)) return Number.isNaN(m) ? 1 : -1;
      return up * x.textContent.localeCompare(y.textContent);
    }
    return up * (m - n);
  };
  for (const table of document.querySelectorAll("table.sorted")) {
    const body = table.tBodies[0];
    table.querySelectorAll("thead button").forEach((button) =>
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
        body.append(...[...body.rows].sort(order(head.cellIndex, up)));
      }),
    );
    const search = table.closest("section").querySelector("input[type=search]");
    search?.addEventListener("input", () => {
      const wanted = search.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  }

  const rowsOf = ({ fixed, columns }) => {
    const names = Object.keys(columns);
    return columns[names[0]].map((_, k) =>
      Object.assign({}, fixed, Object.fromEntries(names.map((name) => [name, columns[name][k]]))),
    );
  };
  const ink = "#333333";
  const line = "#e8e8e8";
  const config = {
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line,
      titleFontWeight: "normal" },
    legend: { labelColor: ink, titleColor: ink, titleFontWeight: "normal" },
    title: { color: ink, anchor: "start", fontWeight: "normal" },
  };
  const options = { ast: true, actions: false, defaultStyle: false, renderer: "canvas", config,
    tooltip: { disableDefaultStyle: true } };

  const draw = async (figure) => {
    const { spec, tables } = JSON.parse(figure.querySelector("script").textContent);
    spec.data = { values: tables.flatMap(rowsOf) };
    const held = new Set(spec.data.values.map((row) => String(row.client)));
    for (const param of spec.params) if (param.name in signals) param.value = heeded(param.name, held);
    views.push({ held, view: (await vegaEmbed(figure.querySelector("div"), spec, options)).view });
  };
  try {
    const script = document.createElement("script");
    script.textContent = await unpacked("vega");
    document.head.append(script);
    for (const figure of document.querySelectorAll("figure.chart")) await draw(figure);
    document.documentElement.dataset.explored = "yes";
  } catch (error) {
    console.error(error);
    for (const hidden of document.querySelectorAll("noscript")) hidden.outerHTML = hidden.textContent;
    delete document.documentElement.dataset.scripts;
  }
})();
