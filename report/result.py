"""Prints the test ELBO, the bound and where to look, as the end of `make repro`."""

import json
from pathlib import Path


def result(metrics: dict) -> str:
    of = "p(x|y)" if metrics.get("conditional") else "p(x)"
    return (
        f"Test ELBO {metrics['elbo']:.2f} ± {metrics['elbo_stderr']:.2f} nats per image, "
        f"log {of} ≥ {metrics['log_likelihood']:.2f} ± {metrics['log_likelihood_stderr']:.2f} "
        f"(metrics/test.json).\n"
        f"New images: plots/samples.png. Everything on one page: make report\n"
        f"DVC skips a stage whose inputs have the committed bytes: its results are in Git."
    )


if __name__ == "__main__":
    print(result(json.loads(Path("metrics/test.json").read_text())))
