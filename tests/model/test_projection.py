"""A projection with landmarks is a Gaussian kernel machine beside its linear map."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from adapt.model.projection import FeatureProjection


def test_the_kernel_branch_is_a_sum_of_gaussians_around_its_landmarks() -> None:
    torch.manual_seed(0)
    projection = FeatureProjection(5, 3, layer_norm=False, bias=False, landmarks=3, reach=2)
    x, centres = F.normalize(torch.randn(4, 5), dim=-1), F.normalize(torch.randn(3, 5), dim=-1)
    assert projection.landmarks is not None
    assert projection.kernel is not None
    with torch.no_grad():
        projection.landmarks.weight.copy_(centres)
        projection.kernel.weight.normal_()
        projection.sharpness.fill_(1.7)  # type: ignore[operator]
        found, linear = projection(x), projection.linear(x)
    for row in range(4):
        for axis in range(2):
            gaussians = [
                math.exp(-1.7 * sum((a - b) ** 2 for a, b in zip(x[row].tolist(), centre.tolist(), strict=True)))
                for centre in centres
            ]
            weights = projection.kernel.weight[axis].tolist()
            expected = sum(weight * value for weight, value in zip(weights, gaussians, strict=True))
            torch.testing.assert_close(float(found[row, axis] - linear[row, axis]), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[:, 2], linear[:, 2])  # out of its reach


def test_the_kernel_branch_starts_at_zero_and_without_landmarks_there_is_none() -> None:
    x = torch.randn(4, 5)
    with_landmarks = FeatureProjection(5, 2, layer_norm=False, bias=False, landmarks=3)
    torch.testing.assert_close(with_landmarks(x), with_landmarks.linear(x))
    names = dict(FeatureProjection(5, 2).state_dict())
    assert not any("landmarks" in name or "kernel" in name or "sharpness" in name for name in names)
