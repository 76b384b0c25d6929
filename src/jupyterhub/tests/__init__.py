"""Helpers for the test suites of plugins: a hub in the process of the tests, users in it, requests to it."""
