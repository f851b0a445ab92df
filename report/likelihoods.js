// Turns the decoder's outputs into the mean image, by likelihood (vae/model/likelihoods.py).
"use strict";

// From what report/explorer.py says of a likelihood to a function: outputs → numbers in [0, 1].
const likelihoods = {
  bernoulli: () => (logits) => logits.map((logit) => 1 / (1 + Math.exp(-logit))),

  // A mixture: for each component a plane of weights, then of locations, then of log scales.
  logistic: ({ centres, first, log_scales: [least, most] }) => (outputs) => {
    const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    const components = centres.length;
    const numbers = outputs.length / (3 * components);
    return Float32Array.from({ length: numbers }, (_, i) => {
      const part = (which, k) => outputs[(which * components + k) * numbers + i];
      const largest = Math.max(...centres.map((_, k) => part(0, k)));
      let sum = 0, total = 0;
      centres.forEach((centre, k) => {
        const weight = Math.exp(part(0, k) - largest);
        const location = centre + part(1, k);
        const scale = Math.exp(Math.max(least, Math.min(most, first + part(2, k))));
        const ends = softplus(location / scale) - softplus((location - 1) / scale);
        sum += weight * scale * ends;
        total += weight;
      });
      return sum / total;
    });
  },
};
