"""The enrolled: how a template is protected, kept in Redis, searched, and erased."""
