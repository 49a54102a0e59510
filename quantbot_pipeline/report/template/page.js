"use strict";
// Unpacks Plotly, draws the figures in the page's colours, and draws them again when these change.
(async () => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const apologise = (reason) => {
    for (const name of Object.keys(figures)) {
      const place = document.getElementById(`figure-${name}`);
      place.classList.add("undrawn");
      place.textContent = `This chart could not be drawn (${reason}). The tables hold the same numbers.`;
    }
  };

  const unpackPlotly = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const themed = (layout) => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--rule"), linecolor: colour("--rule"), zerolinecolor: colour("--faint") };
    return {
      ...layout,
      autosize: true,
      dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--muted") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--faint"), font: { color: colour("--ink") } },
      xaxis: { ...axis, fixedrange: true, ...layout.xaxis },
      yaxis: { ...axis, fixedrange: true, automargin: true, ...layout.yaxis },
    };
  };

  const draw = () => {
    for (const [name, figure] of Object.entries(figures)) {
      Plotly.react(`figure-${name}`, figure.data, themed(figure.layout), { displayModeBar: false, responsive: true });
    }
  };

  try {
    await unpackPlotly();
    draw();
    dark.addEventListener("change", draw);
  } catch (error) {
    apologise(error instanceof Error ? error.message : String(error));
  }
})();
