"""What holds for all tests."""

from __future__ import annotations

import os
import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every program that they start
# and end with it. One that is caught here is a program's own again.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that has no AWS credentials would be asked for those of its cloud; tests talk to nobody but themselves.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
