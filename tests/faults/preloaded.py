"""What every deployable imports, for the process from which they are forked: to import it takes seconds."""

import semface.cli.main
import semface.cli.running
import semface.codec.service
import semface.extraction.service
import semface.gateway.server
import semface.inference.embedded
import semface.inference.triton
import semface.understanding.service  # noqa: F401
