"""A project before its cutover, as the tests of the phases have it."""

from tests.integration.phases.conftest import beat, context, schedule  # noqa: F401 - fixtures
