// Draws the charts in the page's colours, anew when these change.
"use strict";

(() => {
  const charts = JSON.parse(document.getElementById("charts-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function template() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      gridcolor: color("line"),
      linecolor: color("muted"),
      zeroline: false,
      title: { font: { color: color("muted"), size: 13 } },
    };
    return {
      layout: {
        font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: color("ink") },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        colorway: [color("first"), color("second")],
        hoverlabel: { bgcolor: color("raised"), font: { color: color("ink") } },
        xaxis: axis,
        yaxis: axis,
      },
    };
  }

  function draw() {
    for (const [name, { data, layout }] of Object.entries(charts)) {
      const place = document.getElementById(`chart-${name}`);
      if (place) {
        const options = { displayModeBar: false, responsive: true };
        Plotly.react(place, data, { ...layout, template: template() }, options);
      }
    }
  }

  dark.addEventListener("change", draw);
  draw();
})();
