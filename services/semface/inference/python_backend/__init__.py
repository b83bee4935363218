"""What `semface models build --target python` copies into a repository; it runs inside the Triton server."""
