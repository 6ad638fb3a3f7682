"""Where a running mesh keeps its things: `.run/` in the checkout, or in `STARLING_RUN_DIR`."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

CHECKOUT = Path(__file__).resolve().parent.parent

# sockaddr_un holds 108 bytes on Linux and 104 elsewhere; the names in the directory need up to 20.
LONGEST_SOCKET_DIR_BYTES = 70


@dataclass(frozen=True)
class RunDir:
    """The paths below one run directory. Nothing is created by naming it."""

    root: Path

    @property
    def stack_json(self) -> Path:
        """What runs, for everyone: see `stack.state`."""
        return self.root / "stack.json"

    @property
    def supervisor_json(self) -> Path:
        """What the supervisor knows, for the `starling` command."""
        return self.root / "supervisor.json"

    @property
    def settings_json(self) -> Path:
        """Settings of a later `up`, for the supervisor."""
        return self.root / "settings.json"

    @property
    def supervisor_lock(self) -> Path:
        """Locked by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def command_lock(self) -> Path:
        """Locked by an `up` or a `down` while it works."""
        return self.root / "command.lock"

    @property
    def ca(self) -> Path:
        """The local CA's certificate, for clients."""
        return self.root / "ca.pem"

    @property
    def certs(self) -> Path:
        return self.root / "certs"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    def conf(self, name: str) -> Path:
        """The directory of the rendered configuration of process `name`."""
        return self.root / "conf" / name

    def data(self, name: str) -> Path:
        """The directory of what process `name` keeps between runs."""
        return self.root / "data" / name

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    @property
    def sockets(self) -> Path:
        """The directory of the Unix sockets: `sock` in the run directory, or, where its path is too
        long for a socket's address, one in the system's temporary directory named by this one.
        """
        here = self.root / "sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET_DIR_BYTES:
            return here
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"starling-{os.getuid()}-{digest}"

    def make_sockets(self) -> None:
        """An empty directory for sockets that only this user can enter. Raises StackError."""
        try:
            self.sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.sockets.chmod(0o700)  # fails if another user was faster in a shared directory
            for stale in self.sockets.glob("*.sock"):
                stale.unlink()
        except OSError as error:
            raise StackError(f"The sockets cannot be put into {self.sockets}: {error}") from error

    def remove_sockets(self) -> None:
        """Nothing runs any more that could listen on one."""
        shutil.rmtree(self.sockets, ignore_errors=True)


def run_dir() -> RunDir:
    """The mesh's run directory."""
    chosen = os.environ.get("STARLING_RUN_DIR")
    return RunDir((Path(chosen) if chosen else CHECKOUT / ".run").resolve())


def engines_run_dir() -> RunDir:
    """That of the engines alone, which the test suite shares: beside the mesh, not in its way."""
    return RunDir(run_dir().root / "engines")
