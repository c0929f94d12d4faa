from __future__ import annotations

import torch

import unigen as ug
from unigen.dynamics.schedule import VPLinear
from unigen.dynamics.vp_constant import VPConstant


def test_it_is_the_linear_schedule_without_slope():
    t = torch.linspace(0.01, 1, 9, dtype=torch.float64)
    one, other = VPConstant(3.0), VPLinear(6.0, 6.0)
    for name in ("alpha", "sigma", "drift_coefficient", "diffusion_squared", "log_snr"):
        torch.testing.assert_close(getattr(one, name)(t), getattr(other, name)(t), rtol=1e-13, atol=0)


def test_a_program_remembers_it(tmp_path):
    program = ug.Diffusion(3, hidden=8, blocks=1, schedule=VPConstant(4.0))
    again = ug.load(ug.save(program, tmp_path / "diffusion.safetensors"))
    assert repr(again.denoiser.schedule) == "VPConstant(theta=4)"
    assert again.denoiser.start == 1e-3
