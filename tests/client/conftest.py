import pytest


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client pause for a tenth of its times: what the server shows is the same, and is seen earlier."""
    monkeypatch.setattr("flask_etag.client._FIRST_PAUSE", 0.005)
