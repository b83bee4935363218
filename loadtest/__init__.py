"""Load tests of a running system with locust: `README.md` tells how."""
