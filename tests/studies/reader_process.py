"""Reads images in a process of its own, whose memory is limited, so that a crash or a hang of it is only a result."""

import resource
import subprocess
import sys
import threading
from pathlib import Path

_MEMORY_BYTES = 200 * 2**20
_SECONDS = 20


class ReaderProcess:
    """One process for many images; started again after it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def read(self, path: Path) -> str:
        """``"ok"``, ``"StudyError"``, another error's name and message, ``"crashed"`` or ``"hung"``."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, cwd=Path(__file__).parents[2],
            )  # fmt: skip
            assert self._process.stdout.readline() == "ready\n"
        hung = threading.Event()
        timer = threading.Timer(_SECONDS, lambda: (hung.set(), self._process.kill()))
        timer.start()
        try:
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            self._process.wait()
        return answer or ("hung" if hung.is_set() else "crashed")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def _main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import SimpleITK

    from rankseg_med.studies import StudyError, load_image

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + _MEMORY_BYTES,) * 2)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            load_image(Path(line.rstrip("\n")))
            answer = "ok"
        except StudyError:
            answer = "StudyError"
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is the result)
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
