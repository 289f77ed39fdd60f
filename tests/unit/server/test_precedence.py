"""The daemon goes before what its containers do, where it may."""

from __future__ import annotations

import os

import pytest

from api.server import serve


def test_the_daemon_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, for itself and the threads that it starts."""
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "getpriority", lambda _which, _who: 0)
    monkeypatch.setattr(os, "setpriority", lambda *given: asked.append(given))
    serve._go_first()
    assert asked == [(os.PRIO_PROCESS, 0, serve.NICENESS)]


def test_an_operator_who_gave_it_more_is_not_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Nice=` of a unit stays."""
    asked: list[int] = []
    monkeypatch.setattr(os, "getpriority", lambda _which, _who: -15)
    monkeypatch.setattr(os, "setpriority", lambda _which, _who, niceness: asked.append(niceness))
    serve._go_first()
    assert asked == [-15]


def test_whoever_may_not_take_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root may, and not in every container."""

    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    serve._go_first()
