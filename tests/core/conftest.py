"""No test of the core touches the user's directories or sees the user's settings."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _home_of_its_own(monkeypatch, tmp_path_factory):
    home = tmp_path_factory.mktemp("home", numbered=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("LOCALAPPDATA", str(home))
    for name in list(os.environ):
        if name.startswith(("CACHEWRIGHT_", "XDG_")):
            monkeypatch.delenv(name)
