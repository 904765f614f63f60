"""Gradients of several losses, combined into one where they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn


def backward(
    loss: Tensor,
    terms: Sequence[Tensor],
    parameters: Iterable[nn.Parameter],
    combine: Callable[[Tensor], Tensor],
) -> Tensor:
    """``loss.backward()``, but parameters that several terms depend on get a weighted sum of the terms' gradients.

    Which parameters are shared follows from the graph: of this model the encoders, and whatever else more than one task
    reads. The others have the gradient of their own term.

    Args:
        loss: scalar, a multiple of the sum of the terms.
        terms: scalars.
        parameters: to be trained; gradients are added to their ``grad``.
        combine: from the Gramian (terms, terms) of the terms' gradients for the shared parameters to weights (terms,).
            Its trace is 1: TorchJD takes a small one for zero, where losses are small or batches accumulated.

    Returns:
        the weights.
    """
    trained = [p for p in parameters if p.requires_grad]
    factors = torch.autograd.grad(loss, terms, retain_graph=True)  # 1 over the number of accumulated batches
    by_term = [
        torch.autograd.grad(term, trained, factor, retain_graph=term is not terms[-1], allow_unused=True)
        for term, factor in zip(terms, factors, strict=True)
    ]
    found = list(zip(trained, zip(*by_term, strict=True), strict=True))  # each parameter and its gradients
    gramian = loss.new_zeros(len(terms), len(terms))
    for p, gradients in found:
        if _shared(gradients):
            rows = torch.stack([torch.zeros_like(p) if g is None else g for g in gradients]).flatten(start_dim=1)
            gramian += rows @ rows.T
    size = gramian.trace()
    weights = combine(gramian / size if size > 0 else gramian)
    for p, gradients in found:
        shared = _shared(gradients)
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                p.grad += weight * gradient if shared else gradient
    return weights


def _shared(gradients: Sequence[Tensor | None]) -> bool:
    return sum(gradient is not None for gradient in gradients) > 1
