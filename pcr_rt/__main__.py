"""Start the command line: ``pcr-rt``, or ``python -m pcr_rt``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C before a verb has begun, such as in imports, ends it too."""
    try:
        from pcr_rt.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
