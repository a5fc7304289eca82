"""`make setup`: the environment and the default base model, made once. Runs on the system's Python alone."""

import ast
import ctypes.util
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = ROOT / "setup.log"
DEFAULT_MODEL = Path("models") / "SmolLM2-135M-Instruct"  # under home
NEEDED_GIB = 8
UV = "uv==0.13.9"  # unpacks what pip takes two minutes for in a quarter of one
UV_READS = {  # pip's settings, under uv's names; several values stand with blanks between, or as said
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
NO_CPU_TORCH = (
    "The package indexes hold no CPU build of torch: run `PIP_EXTRA_INDEX_URL=URL make setup`, with the URL of "
    "PyTorch's CPU wheel index (pytorch.org, Get Started, Pip and CPU)."
)
NO_CUDA_TORCH = (
    "pip's indexes gave a CPU build of torch, and the CUDA packages cannot run on it: take PyTorch's CPU wheel index "
    "out of them (PIP_EXTRA_INDEX_URL, or what `.venv/bin/pip config list` shows), then run `make setup` again."
)


class SetupError(Exception):
    """Set-up cannot go on; the text is one sentence that says what to do."""


def main() -> int:
    """Set everything up; returns the exit code."""
    began = time.monotonic()
    try:
        check_machine()
        is_installed = stamp_path().is_file() and stamp_path().read_text() == stamp()
        if is_installed and has_model(ROOT):
            return 0
        if not is_installed:
            stage("environment", make_venv)
            stage("packages", install)
            stamp_path().write_text(stamp())
        if not has_model(ROOT):
            stage("base model", prepare_model)
    except SetupError as error:
        sys.stderr.write(f"\n{error}\n")
        return 2
    sys.stdout.write(f"set up in {time.monotonic() - began:.0f} s\n")
    return 0


def check_machine() -> None:
    """Refuse a machine on which a later step would fail."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this script is what finds out
        raise SetupError(f"Lorekeep needs Python 3.11 or newer and this is {sys.version.split()[0]}: install it first.")
    free = shutil.disk_usage(ROOT).free / 2**30
    if not VENV.exists() and free < NEEDED_GIB:
        raise SetupError(f"Lorekeep needs {NEEDED_GIB} GiB of disk and {free:.1f} are free here: make room first.")
    if shutil.which("g++") is None:
        raise SetupError("The engine compiles small kernels and finds no g++: install it (apt-get install g++) first.")
    if not has_gpu() and sys.platform == "linux" and ctypes.util.find_library("numa") is None:
        raise SetupError("The engine needs libnuma on CPUs: install it (apt-get install libnuma1) first.")


def stage(name: str, work: object) -> None:
    """Do one step, saying what it is and how long it took."""
    began = time.monotonic()
    tell(f"{name} …" if sys.stdout.isatty() else f"{name} …\n")
    work()  # type: ignore[operator]
    tell(f"{name}: {time.monotonic() - began:.0f} s\n")


def tell(text: str) -> None:
    """Write over the current line; where nobody watches, write whole lines only."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
    elif text.endswith("\n"):
        sys.stdout.write(text)
    sys.stdout.flush()


def make_venv() -> None:
    """Make an empty environment."""
    if not is_whole(VENV):
        run([sys.executable, "-m", "venv", "--clear", str(VENV)])


def is_whole(venv: Path) -> bool:
    """Say whether an environment was made to its end: pip comes last."""
    return all((venv / "bin" / name).exists() for name in ("python", "pip"))


def install() -> None:
    """Install the pinned packages. On CPUs from a full list without dependencies: see tools/lock.py."""
    kind = "cuda" if has_gpu() else "cpu"
    pins = ROOT / f"constraints-{kind}.txt"
    run([str(PYTHON), "-m", "pip", "install", "--no-input", "--no-compile", "--disable-pip-version-check", UV])
    pip_config = [str(PYTHON), "-m", "pip", "config", "list"]
    settings = uv_settings(subprocess.run(pip_config, capture_output=True, text=True, check=False).stdout)
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(PYTHON)]
    if pins.is_file():
        run([*uv, "--no-deps", "-r", str(pins)], settings)
        run([*uv, "--no-deps", "-e", str(ROOT)], settings)
    else:
        run([*uv, "-e", f"{ROOT}[{kind},embedded,languages,dev]"], settings)
    refuse_other_torch(kind)


def uv_settings(listed: str) -> dict[str, str]:
    """Turn what `pip config list` says into uv's environment: whoever has set pip up need not do it again."""
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # the later ones win
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", listed, re.MULTILINE):
            if name in UV_READS:
                between = "," if name == "find-links" else " "
                found[UV_READS[name]] = between.join(str(ast.literal_eval(value)).split())
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **found}  # of all indexes, as pip chooses


def refuse_other_torch(kind: str) -> None:
    """Take a torch built for the other kind of machine out again: it could not be loaded, or vLLM not beside it."""
    [version] = VENV.glob("lib/python*/site-packages/torch/version.py")
    built = "cpu" if re.search(r"^cuda\b.*= None$", version.read_text(), re.MULTILINE) else "cuda"
    if built != kind:
        run([str(PYTHON), "-m", "pip", "uninstall", "--yes", "torch", "torchaudio", "torchvision"])
        raise SetupError(NO_CPU_TORCH if kind == "cpu" else NO_CUDA_TORCH)


def has_model(root: Path) -> bool:
    """Say whether the default base model is there, or another one is set."""
    home = root / (setting(root, "LOREKEEP_HOME") or ".lorekeep")
    return bool(setting(root, "LOREKEEP_BASE_MODEL")) or (home / DEFAULT_MODEL / "config.json").is_file()


def setting(root: Path, name: str) -> str:
    """Return a variable of the environment, else of `.env`, as `app.settings` finds it; empty where there is none."""
    dotenv = root / ".env"
    text = dotenv.read_text() if dotenv.is_file() else ""
    found = re.findall(rf"^[ \t]*(?:export[ \t]+)?{name}[ \t]*=[ \t]*(.*?)(?:[ \t]+#.*|[ \t]*)$", text, re.MULTILINE)
    return os.environ.get(name) or (found[-1].strip("'\"") if found else "")


def prepare_model() -> None:
    """Prepare the default base model."""
    run([str(PYTHON), "-m", "workers.prepare_model"])


def has_gpu() -> bool:
    """Say whether this machine has an NVIDIA card that works."""
    if shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False).returncode == 0


def run(command: list[str], settings: dict[str, str] | None = None) -> None:
    """Run a command, its output in the log; say what it fetches."""
    lines: list[str] = []
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment() | (settings or {}),
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            lines.append(line)
            if line.startswith("Downloading "):
                tell(f"packages … {line.strip().lower()}")
    if process.returncode:
        raise SetupError(reason("".join(lines[-40:])))


def environment() -> dict[str, str]:
    """Return the environment without what would lead to another Python's packages."""
    return {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    }


def reason(output: str) -> str:
    """Say in one sentence what went wrong."""
    if "No space left" in output:
        return f"The disk is full: make {NEEDED_GIB} GiB of room, then run `make setup` again."
    if "there is no version of torch==" in output:
        return NO_CPU_TORCH
    if any(one in output for one in ("Failed to establish a new connection", "name resolution", "Failed to fetch")):
        return "The package index cannot be reached: check the network or pip's settings, then run `make setup` again."
    if "ensurepip is not" in output:  # Debian goes on in the next line
        return "Python cannot make environments: install what is missing (apt install python3-venv) first."
    last = output.strip().splitlines()[-1] if output.strip() else "no output"
    return f"Set-up failed ({last}): the whole output is in {LOG.relative_to(ROOT)}."


def stamp() -> str:
    """Return a digest of what decides the environment."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("constraints-*.txt")), Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stamp_path() -> Path:
    """Return where the digest is kept."""
    return VENV / "lorekeep.stamp"


if __name__ == "__main__":
    sys.exit(main())
