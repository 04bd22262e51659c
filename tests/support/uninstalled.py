"""A backend whose server is not installed here."""

import a_server_for_another_platform  # noqa: F401

Server = object
