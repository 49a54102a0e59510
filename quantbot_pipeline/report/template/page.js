"use strict";
// Draws charts when they come into sight, when there is time, and before printing, in the page's colours, and lets
// tables be sorted, filtered and paged.
// Without this script every table is there whole, in the order in which it was ranked.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Charts

  const place = (name) => document.getElementById(`figure-${name}`);

  const apologise = (name, reason) => {
    place(name).classList.add("undrawn");
    place(name).textContent = `This chart could not be drawn (${reason}). The tables hold the same numbers.`;
  };

  const unpackPlotly = async (packed) => {
    const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const themed = (layout) => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--rule"), linecolor: colour("--rule"), zerolinecolor: colour("--faint"), fixedrange: true };
    const made = {
      ...layout,
      autosize: true,
      dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--muted") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--faint"), font: { color: colour("--ink") } },
      xaxis: { ...axis, ...layout.xaxis },
      yaxis: { automargin: true, ...axis, ...layout.yaxis },
    };
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis\d+$/.test(name)) made[name] = { ...axis, ...layout[name] };
    }
    return made;
  };

  // What is written into the cells of a heat map needs room, or it can't be read; it is shown when pointed at as well.
  const CELL_OF_TEXT = 44;
  const LABELS = 190;
  const readable = (trace, width) =>
    trace.texttemplate && (width - LABELS) / trace.x.length < CELL_OF_TEXT ? { ...trace, texttemplate: "" } : trace;

  // On a telephone, names beside a heat map must leave room for it, and times beneath a chart for each other.
  const TELEPHONE = 480;
  const fitted = (layout, width) => {
    if (width >= TELEPHONE) return layout;
    if (layout.xaxis?.type === "date") return { ...layout, xaxis: { ...layout.xaxis, nticks: 4 } };
    if (layout.yaxis?.type !== "category") return layout;
    const margin = { ...layout.margin, l: Math.min(layout.margin.l, 128) };
    return { ...layout, margin, yaxis: { ...layout.yaxis, tickfont: { size: 9 } } };
  };

  const drawn = new Set();
  // Pixels between the edges of a printed page, of A4 and of Letter.
  const PRINTED_WIDTH = 660;

  const draw = (name, figure) => {
    drawn.add(name);
    const config = { displayModeBar: false, responsive: true };
    const width = place(name).clientWidth;
    const data = figure.data.map((trace) => readable(trace, width));
    Plotly.react(place(name), data, themed(fitted(figure.layout, width)), config).catch((error) => apologise(name, String(error)));
  };

  const drawFigures = async (holder) => {
    const figures = JSON.parse(holder.textContent);
    const packed = document.getElementById("plotly");
    try {
      if (packed) await unpackPlotly(packed);
      if (typeof Plotly === "undefined") throw new Error("its script is missing beside the page");
    } catch (error) {
      for (const name of Object.keys(figures)) apologise(name, error instanceof Error ? error.message : String(error));
      return;
    }
    // What is folded away has no width yet: it is drawn when it is opened and comes into sight.
    const drawOnce = (name) => {
      if (!drawn.has(name) && !place(name).closest("details:not([open])")) draw(name, figures[name]);
    };
    const sight = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter((each) => each.isIntersecting)) {
          sight.unobserve(entry.target);
          drawOnce(entry.target.id.slice("figure-".length));
        }
      },
      { rootMargin: "400px" },
    );
    for (const name of Object.keys(figures)) sight.observe(place(name));
    const waiting = Object.keys(figures);
    const inIdleTime = window.requestIdleCallback ?? ((step) => setTimeout(step, 100));
    const drawNext = () => {
      if (!waiting.length) return;
      drawOnce(waiting.shift());
      inIdleTime(drawNext);
    };
    inIdleTime(drawNext);
    // Paper has a width of its own, which nobody knows before it is printed: charts are made to fit the narrowest.
    window.addEventListener("beforeprint", () => {
      Object.keys(figures).forEach(drawOnce);
      for (const name of drawn) {
        if (place(name).clientWidth > PRINTED_WIDTH) Plotly.relayout(place(name), { autosize: false, width: PRINTED_WIDTH });
      }
    });
    window.addEventListener("afterprint", () => {
      for (const name of drawn) Plotly.relayout(place(name), { autosize: true, width: null });
    });
    dark.addEventListener("change", () => drawn.forEach((name) => draw(name, figures[name])));
  };

  // Tables

  const ROWS_WITHOUT_TOOLS = 8;
  const ROWS_PER_PAGE = 25;
  const NUMBER = new Intl.NumberFormat("en");

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const button = (className, text, onClick) => {
    const made = element("button", className, text);
    made.type = "button";
    made.addEventListener("click", onClick);
    return made;
  };

  const cellValue = (cell) => {
    const text = cell.dataset.v ?? cell.textContent.trim();
    if (text === "" || text === "–") return null;
    const number = Number(text);
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };

  // Numbers before texts, what is missing last, whichever way is up.
  const compare = (a, b, direction) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return direction * (typeof a === "number" ? a - b : a.localeCompare(b));
  };

  const makeSortable = (table, state, refresh) => {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const title = heading.textContent;
      const sorter = button("sort", title, () => {
        const isNumber = heading.classList.contains("n");
        const first = isNumber ? -1 : 1;
        state.direction = state.column === column ? -state.direction : first;
        state.column = column;
        const decorated = state.rows.map((row, k) => [cellValue(row.cells[column]), k, row]);
        decorated.sort((x, y) => compare(x[0], y[0], state.direction) || x[1] - y[1]);
        state.rows = decorated.map((each) => each[2]);
        state.page = 0;
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
        table.tBodies[0].append(...state.rows);
        refresh();
      });
      if (heading.title) {
        sorter.title = heading.title;
        heading.removeAttribute("title");
      }
      heading.replaceChildren(sorter);
    });
  };

  const makeTable = (table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 2) return;
    const state = { rows, column: -1, direction: 1, page: 0, wanted: "" };
    const tools = element("div", "tools");
    const status = element("p", "status");
    status.setAttribute("role", "status");
    const before = button("pager", "Previous", () => turn(-1));
    const after = button("pager", "Next", () => turn(1));
    const refresh = () => {
      const words = state.wanted.toLowerCase().split(/\s+/).filter(Boolean);
      const found = state.rows.filter((row) => {
        if (!words.length) return true;
        row.dataset.text ??= [...row.cells].map((cell) => `${cell.textContent} ${cell.querySelector("[title]")?.title ?? ""}`).join(" ").toLowerCase();
        return words.every((word) => row.dataset.text.includes(word));
      });
      const pages = Math.max(Math.ceil(found.length / ROWS_PER_PAGE), 1);
      state.page = Math.min(state.page, pages - 1);
      const shown = new Set(found.slice(state.page * ROWS_PER_PAGE, (state.page + 1) * ROWS_PER_PAGE));
      for (const row of state.rows) row.hidden = !shown.has(row);
      before.disabled = state.page === 0;
      after.disabled = state.page === pages - 1;
      before.hidden = after.hidden = pages === 1;
      const first = state.page * ROWS_PER_PAGE;
      const range = pages > 1 && found.length ? `${NUMBER.format(first + 1)} to ${NUMBER.format(first + shown.size)} of ` : "";
      const all = found.length === rows.length ? "" : `, ${NUMBER.format(rows.length)} without the filter`;
      status.textContent = `${range}${NUMBER.format(found.length)} row${found.length === 1 ? "" : "s"}${all}`;
    };
    const turn = (step) => {
      state.page += step;
      refresh();
      table.closest(".sheet").scrollIntoView({ block: "nearest" });
    };
    makeSortable(table, state, refresh);
    if (rows.length > ROWS_WITHOUT_TOOLS) {
      const label = element("label", "filter", "Filter ");
      const input = element("input");
      input.type = "search";
      input.setAttribute("aria-label", `Filter: ${table.dataset.label}`);
      input.placeholder = "words";
      input.addEventListener("input", () => {
        state.wanted = input.value;
        state.page = 0;
        refresh();
      });
      label.append(input);
      tools.append(label, status, before, after);
      table.closest(".scroll").before(tools);
      refresh();
    }
  };

  // Shades the edges behind which a table goes on: a bar to scroll by is not shown on every screen.
  const markEdges = (scroller) => {
    const hidden = scroller.scrollWidth - scroller.clientWidth;
    scroller.classList.toggle("more-left", scroller.scrollLeft > 1);
    scroller.classList.toggle("more-right", scroller.scrollLeft < hidden - 1);
  };

  document.querySelectorAll("table.data").forEach(makeTable);
  const widths = new ResizeObserver((entries) => entries.forEach((entry) => markEdges(entry.target.closest(".scroll"))));
  for (const scroller of document.querySelectorAll(".scroll")) {
    scroller.addEventListener("scroll", () => markEdges(scroller), { passive: true });
    widths.observe(scroller);
    if (scroller.firstElementChild) widths.observe(scroller.firstElementChild);
  }
  const holder = document.getElementById("figures");
  if (holder) document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", () => drawFigures(holder)) : drawFigures(holder);
})();
