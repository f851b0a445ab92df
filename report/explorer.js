// The latent space by hand: sliders, buttons and a square that set z, and the image drawn from it.
"use strict";

window.explorer = (() => {
  const element = (id) => document.getElementById(id);
  const model = JSON.parse(element("explorer-data").textContent);
  const outputs = decoder(model.program);
  const mean = likelihoods[model.likelihood.name](model.likelihood);
  const [channels, height, width] = model.shape;
  const draws = floats(model.draws);
  const classes = Object.entries(model.classes).map(([label, mean]) => [label, floats(mean)]);
  const signed = (value) => value.toFixed(2).replace("-0.00", "0.00").replace("-", "−");

  const inputs = model.latent + model.given; // in a conditional model, 1 for its class, 0 for others
  const z = new Float32Array(inputs);

  const context = element("image").getContext("2d", { willReadFrequently: true }); // no GPU
  const image = context.createImageData(width, height);

  // The mean image at `latents`, as the pixels of a canvas. Its channels are planes: one, or three.
  function paint({ data }, latents) {
    const values = mean(outputs(latents));
    const pixels = width * height;
    for (let pixel = 0; pixel < pixels; pixel++) {
      for (let c = 0; c < 3; c++) data[4 * pixel + c] = 255 * values[(c % channels) * pixels + pixel];
      data[4 * pixel + 3] = 255;
    }
  }

  function drawImage() {
    paint(image, z);
    context.putImageData(image, 0, 0);
  }

  // Drawn once a frame, however often z changes.
  let waiting = false;
  const drawings = [drawImage];

  function changed() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawings.forEach((draw) => draw());
    });
  }

  function set(latents) {
    z.set(latents);
    changed();
  }

  function setOne(dimension, value) {
    z[dimension] = Math.max(-model.reach, Math.min(model.reach, value));
    changed();
  }

  // A slider for each dimension.
  for (const dimension of model.order) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    name.textContent = `z${dimension} · ${model.kl[dimension].toFixed(2)} nats`;
    const value = document.createElement("output");
    const slider = document.createElement("input");
    Object.assign(slider, {
      type: "range", id: `z${dimension}`, min: -model.reach, max: model.reach, step: 0.05,
    });
    label.append(name, value, slider);
    element("sliders").append(label);
    slider.addEventListener("input", () => setOne(dimension, slider.valueAsNumber));
    drawings.push(() => {
      slider.value = z[dimension];
      value.textContent = signed(z[dimension]);
    });
  }

  // Buttons.
  element("zero").addEventListener("click", () => set(z.map((value, i) => (i < model.latent ? 0 : value))));
  element("random").addEventListener("click", () => {
    const draw = Math.floor((Math.random() * draws.length) / inputs);
    set(draws.subarray(draw * inputs, (draw + 1) * inputs));
  });
  for (const [label, mean] of classes) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: label });
    button.addEventListener("click", () => set(mean));
    element("classes").append(button);
  }

  // Of a conditional model: the same latents with another class.
  for (let label = 0; label < model.given; label++) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: label });
    button.addEventListener("click", () =>
      set(z.map((value, i) => (i < model.latent ? value : Number(i === model.latent + label)))));
    element("given").append(button);
    drawings.push(() => button.setAttribute("aria-pressed", z[model.latent + label] === 1));
  }

  // Points [left, top] in percent, moved until none is nearer than `least` to another.
  function apart(points, least = 7) {
    for (let turn = 0; turn < 100; turn++) {
      for (const [i, a] of points.entries()) {
        for (const b of points.slice(0, i)) {
          const [x, y] = [a[0] - b[0], a[1] - b[1] || 0.1];
          const short = least - Math.hypot(x, y);
          if (short <= 0) continue;
          const share = short / 2 / Math.hypot(x, y);
          [a[0], a[1], b[0], b[1]] = [a[0] + x * share, a[1] + y * share, b[0] - x * share, b[1] - y * share];
        }
      }
      for (const point of points) point.forEach((at, i) => (point[i] = Math.max(3, Math.min(97, at))));
    }
    return points;
  }

  // What the decoder draws all over the square: anew when another dimension than its two has changed
  // and then rested, and for a few milliseconds of each frame.
  const REST = 150, BUDGET = 8;
  const [columns, rows] = [height / width, width / height].map(odd); // some 81 tiles in a square
  const map = element("map");
  let drawn = "";

  // An odd number near 9·√ratio, so that a tile is in the middle.
  function odd(ratio) {
    return 2 * Math.round((9 * Math.sqrt(ratio) - 1) / 2) + 1;
  }

  // Grey images: white becomes grey, and black shows the square, whether it is light or dark.
  function seeThrough({ data }) {
    for (let i = 0; i < data.length; i += 4) {
      data[i + 3] = data[i];
      data.fill(128, i, i + 3);
    }
  }

  function drawMap(axes) {
    const others = [...z].map((value, dimension) => (axes.includes(dimension) ? 0 : value));
    const key = JSON.stringify([axes, others]);
    if (key === drawn) return;
    drawn = key;
    const tile = map.getContext("2d").createImageData(width, height);
    const at = (n, tiles) => model.reach * ((2 * n + 1) / tiles - 1);
    const drawTile = (column, row) => {
      const latents = Float32Array.from(others);
      latents[axes[0]] = at(column, columns);
      latents[axes[1]] = -at(row, rows);
      paint(tile, latents);
      if (channels === 1) seeThrough(tile);
      map.getContext("2d").putImageData(tile, width * column, height * row);
    };
    const drawFrom = (n) => {
      const began = performance.now();
      while (key === drawn && n < columns * rows && performance.now() - began < BUDGET) {
        drawTile(n % columns, Math.floor(n / columns));
        n++;
      }
      if (key === drawn && n < columns * rows) requestAnimationFrame(() => drawFrom(n));
    };
    setTimeout(() => drawFrom(0), REST);
  }

  // The square of two dimensions, which a model of one has not.
  function addPad(pad) {
    Object.assign(map, { width: columns * width, height: rows * height });
    const selects = [element("across"), element("upwards")];
    let axes = model.order.slice(0, 2);
    for (const [i, select] of selects.entries()) {
      for (const dimension of model.order) select.add(new Option(`z${dimension}`, dimension));
      select.addEventListener("change", () => {
        const chosen = Number(select.value);
        axes = axes.map((axis, j) => (i === j ? chosen : axis === chosen ? axes[i] : axis));
        changed();
      });
    }

    const marks = classes.map(([label, mean]) => [document.createElement("span"), label, mean]);
    for (const [mark, label] of marks) {
      mark.textContent = label;
      mark.setAttribute("aria-hidden", "true");
      pad.prepend(mark);
    }
    const position = (latents) => [
      50 + (50 * latents[axes[0]]) / model.reach, 50 - (50 * latents[axes[1]]) / model.reach,
    ];
    const place = (mark, [left, top]) => {
      mark.style.left = `${left}%`;
      mark.style.top = `${top}%`;
    };
    pad.setAttribute("aria-valuemin", -model.reach);
    pad.setAttribute("aria-valuemax", model.reach);
    drawings.push(() => {
      selects.forEach((select, i) => (select.value = axes[i]));
      place(element("knob"), position(z));
      const places = apart(marks.map(([, , mean]) => position(mean)));
      marks.forEach(([mark], i) => place(mark, places[i]));
      drawMap(axes);
      const words = axes.map((axis) => `z${axis} ${signed(z[axis])}`);
      pad.setAttribute("aria-valuenow", z[axes[0]].toFixed(2));
      pad.setAttribute("aria-valuetext", words.join(", "));
    });

    const follow = (event) => {
      const box = pad.getBoundingClientRect();
      const right = (event.clientX - box.left) / box.width;
      const down = (event.clientY - box.top) / box.height;
      setOne(axes[0], model.reach * (2 * right - 1));
      setOne(axes[1], model.reach * (1 - 2 * down));
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      follow(event);
    });
    pad.addEventListener("pointermove", (event) => {
      if (pad.hasPointerCapture(event.pointerId)) follow(event);
    });
    const steps = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1],
    };
    pad.addEventListener("keydown", (event) => {
      if (!(event.key in steps)) return;
      event.preventDefault();
      const [i, direction] = steps[event.key];
      setOne(axes[i], z[axes[i]] + (direction * model.reach) / 30);
    });
  }

  if (element("pad")) addPad(element("pad"));
  set(classes[0][1]);
  return { latents: () => [...z], set };
})();
