"""`python -m app.supervise.part COMMAND…`: become the command, but die with supervisord."""

import os
import signal
import sys

from app.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent(signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])
