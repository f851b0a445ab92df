// The latent space by hand: sliders, buttons and a square that set z, and the image drawn from it.
"use strict";

window.explorer = (() => {
  const element = (id) => document.getElementById(id);
  const model = JSON.parse(element("explorer-data").textContent);
  const logits = decoder(model.program);
  const draws = floats(model.draws);
  const classes = Object.entries(model.classes).map(([label, mean]) => [label, floats(mean)]);
  const signed = (value) => value.toFixed(2).replace("-0.00", "0.00").replace("-", "−");

  const z = new Float32Array(model.latent);

  const context = element("image").getContext("2d", { willReadFrequently: true }); // no GPU
  const image = context.createImageData(28, 28);
  image.data.fill(255);

  function drawImage() {
    logits(z).forEach((logit, pixel) => {
      image.data.fill(255 / (1 + Math.exp(-logit)), 4 * pixel, 4 * pixel + 3);
    });
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
  element("zero").addEventListener("click", () => set(new Float32Array(model.latent)));
  element("random").addEventListener("click", () => {
    const draw = Math.floor((Math.random() * draws.length) / model.latent);
    set(draws.subarray(draw * model.latent, (draw + 1) * model.latent));
  });
  for (const [label, mean] of classes) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: label });
    button.addEventListener("click", () => set(mean));
    element("classes").append(button);
  }

  // The square of two dimensions, which a model of one has not.
  function addPad(pad) {
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
    const place = (mark, latents) => {
      mark.style.left = `${50 + (50 * latents[axes[0]]) / model.reach}%`;
      mark.style.top = `${50 - (50 * latents[axes[1]]) / model.reach}%`;
    };
    pad.setAttribute("aria-valuemin", -model.reach);
    pad.setAttribute("aria-valuemax", model.reach);
    drawings.push(() => {
      selects.forEach((select, i) => (select.value = axes[i]));
      place(element("knob"), z);
      for (const [mark, , mean] of marks) place(mark, mean);
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
