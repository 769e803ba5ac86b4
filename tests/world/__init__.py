"""The one world of the tests: its models, an application that serves them, and requests that race in it."""
