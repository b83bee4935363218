"""Options beside locust's own: where gRPC is, what is sent, in which shape, and what makes a run fail."""

from typing import Any, Final

from locust import events

from loadtest.shapes import SHAPES

MIXES: Final[dict[str, dict[str, int]]] = {
    "sender": {"SenderUser": 1},
    "receiver": {"ReceiverUser": 1},
    "enrollment": {"EnrollmentUser": 1},
    "identify": {"IdentifyUser": 1},
    "all": {"SenderUser": 3, "ReceiverUser": 6, "EnrollmentUser": 1, "IdentifyUser": 2},
}
"""Each mix: the users in it, by weight."""


def install() -> None:
    """Register the options and the choice of the mix with locust."""
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(choose_mix)


def add_options(parser: Any) -> None:
    """Add our options to locust's ``parser``."""
    load = parser.add_argument_group("semface")
    load.add_argument("--grpc", metavar="HOST:PORT", default="127.0.0.1:8100", help="Address of the gRPC services.")
    load.add_argument("--mix", choices=list(MIXES), default="all", help="Which users.")
    load.add_argument("--shape", choices=list(SHAPES), default="constant", help="How the number of users changes.")
    load.add_argument(
        "--arrival-rate",
        type=float,
        default=0.0,
        metavar="R",
        help="Fixed rate in place of users that wait for answers: actions a second, over all users, at random moments. "
        "Times count from the moment an action was due.",
    )
    load.add_argument("--photograph", metavar="FILE", default="", help="What is sent. [that of scikit-image]")
    load.add_argument("--ca", metavar="FILE", default="", help="Certificates that the servers' have to chain to.")
    load.add_argument("--grpc-certificate", metavar="FILE", default="", help="Our certificate for gRPC.")
    load.add_argument("--grpc-key", metavar="FILE", default="", help="Its private key.")
    gate = parser.add_argument_group("semface: what makes the run fail (exit code 1)")
    gate.add_argument("--p50", action="append", default=[], metavar="NAME=MS", help="Largest median of a call.")
    gate.add_argument("--p99", action="append", default=[], metavar="NAME=MS", help="Largest 99th percentile.")
    gate.add_argument("--least-rate", action="append", default=[], metavar="NAME=R", help="Least answers a second.")
    gate.add_argument("--most-failed", type=float, default=None, metavar="SHARE", help="Largest share of failures.")
    gate.add_argument("--most-shed", type=float, default=None, metavar="SHARE", help="Largest share that was shed.")
    gate.add_argument(
        "--most-generator-lag",
        type=float,
        default=None,
        metavar="MS",
        help="Largest 99th percentile of the generator's own lag.",
    )


def choose_mix(environment: Any, **_: Any) -> None:
    """Keep the users of the chosen mix, with its weights."""
    weights = MIXES[environment.parsed_options.mix]
    kept = [user for user in environment.user_classes if user.__name__ in weights]
    for user in kept:
        user.weight = weights[user.__name__]
    environment.user_classes[:] = kept
