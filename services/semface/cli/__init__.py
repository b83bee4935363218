"""The `semface` command, one file for each group of commands."""
