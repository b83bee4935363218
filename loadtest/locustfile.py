"""What locust loads: `python -m locust -f loadtest/locustfile.py`; loadtest/README.md tells the options."""

from loadtest import generator, options, thresholds
from loadtest.grpc_users import ReceiverUser, SenderUser
from loadtest.http_users import EnrollmentUser, IdentifyUser
from loadtest.shapes import ChosenShape

options.install()
generator.install()
thresholds.install()

__all__ = ["ChosenShape", "EnrollmentUser", "IdentifyUser", "ReceiverUser", "SenderUser"]
