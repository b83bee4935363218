"""`python -m semface.cli` is `semface`."""

from semface.cli.main import main

main()
