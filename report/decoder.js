// Runs the decoder's steps (report/program.py) in the page.
"use strict";

const floats = (text) =>
  new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

// From the steps to a function: latents → outputs for the likelihood.
function decoder(program) {
  const kinds = { relu, add, gather, scatter };
  const steps = program.map((step) => (step.weight ? layer(step) : step));

  function layer({ weight, bias, windows, ...step }) {
    const arrays = { weight: floats(weight), bias: floats(bias) };
    return { ...step, ...arrays, windows: Int32Array.from(floats(windows)) };
  }

  function relu(_, x) {
    return x.map((value) => Math.max(value, 0));
  }

  function add(_, x, other) {
    return x.map((value, i) => value + other[i]);
  }

  function gather({ weight, bias, windows, places, length }, x) {
    const y = new Float32Array(length);
    const window = new Float32Array(windows.length / places);
    const sums = new Float64Array(bias.length);
    for (let place = 0, i = 0; place < places; place++) {
      for (let j = 0; j < window.length; j++, i++) {
        window[j] = windows[i] < 0 ? 0 : x[windows[i]];
      }
      multiply(weight, window, sums);
      for (let c = 0; c < bias.length; c++) y[c * places + place] = bias[c] + sums[c];
    }
    return y;
  }

  function scatter({ weight, bias, windows, places, length }, x) {
    const y = new Float32Array(length);
    const pixels = length / bias.length;
    bias.forEach((value, c) => y.fill(value, c * pixels, (c + 1) * pixels));
    const column = new Float32Array(x.length / places);
    const sums = new Float64Array(windows.length / places);
    for (let place = 0, i = 0; place < places; place++) {
      for (let c = 0; c < column.length; c++) column[c] = x[c * places + place];
      multiply(weight, column, sums);
      for (let j = 0; j < sums.length; j++, i++) {
        if (windows[i] >= 0) y[windows[i]] += sums[j];
      }
    }
    return y;
  }

  // sums = the matrix times x. Nearly all of the time is spent here.
  function multiply(matrix, x, sums) {
    for (let row = 0, i = 0; row < sums.length; row++) {
      let sum = 0;
      for (let column = 0; column < x.length; column++, i++) sum += matrix[i] * x[column];
      sums[row] = sum;
    }
  }

  return (z) => {
    const values = [z];
    for (const { inputs, ...step } of steps) {
      values.push(kinds[step.kind](step, ...inputs.map((i) => values[i])));
    }
    return values.at(-1);
  };
}
