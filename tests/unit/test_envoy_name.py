"""Our package and the wheel's module are both called `envoy`: ours must be the one imported."""

import subprocess
import sys
from pathlib import Path

import envoy
from envoy.binary import envoy_path

ROOT = Path(__file__).resolve().parents[2]


def test_here_it_is_ours() -> None:
    assert Path(envoy.__file__).parent == ROOT / "envoy"


def test_below_stack_it_is_ours_wherever_python_looks_first(tmp_path: Path) -> None:
    """A console script has site-packages, and so the wheel's module, before the checkout."""
    code = "import stack, envoy, envoy.rendering; print(envoy.__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert Path(printed.strip()) == ROOT / "envoy" / "__init__.py"


def test_the_program_is_found_without_the_wheels_module() -> None:
    version = subprocess.run(
        [envoy_path(), "--version"], check=True, capture_output=True, text=True
    )
    assert "/1.40.0/" in version.stdout
