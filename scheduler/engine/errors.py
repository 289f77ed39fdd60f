"""Errors between Timeball and an engine, distinguished by what the caller should do next.

Pure. `EngineUnavailableError` means: wait and try again; every other error is a fact about the run.
"""

from __future__ import annotations

from scheduler.domain.errors import TimeballError


class EngineError(TimeballError):
    """Any failed call to an engine."""


class EngineUnavailableError(EngineError):
    """The engine cannot be reached, does not answer in time, or the connection was lost.

    The call may or may not have taken effect, so check again (`Engine.find`, `Engine.inspect`) when the engine is
    back.
    """


class EngineUnreachableError(EngineUnavailableError):
    """No connection to the engine could be made, so the call certainly had no effect."""


class EngineTimeoutError(EngineUnavailableError):
    """The engine was reached, or seemed to be, but did not answer in time."""


class EngineTroubledError(EngineUnavailableError):
    """The engine answered that it cannot do this now: it is running, but has a problem."""


class StreamBrokenError(EngineUnavailableError):
    """A stream of the engine ended in the middle of a frame, or contains an invalid frame."""


class ImagePullError(EngineError):
    """The image is not available; the message contains the registry's or the engine's own message.

    Attributes:
        is_transient: whether another attempt may soon succeed.
        has_stalled: whether the pull was cancelled because it made no progress.
        is_denied: whether the registry denied access.
    """

    def __init__(
        self,
        message: str,
        *,
        is_transient: bool = False,
        has_stalled: bool = False,
        is_denied: bool = False,
    ) -> None:
        self.is_transient = is_transient or has_stalled
        self.has_stalled = has_stalled
        self.is_denied = is_denied
        super().__init__(message)

    def saying(self, message: str) -> ImagePullError:
        """The same error with another message."""
        return ImagePullError(
            message, is_transient=self.is_transient, has_stalled=self.has_stalled, is_denied=self.is_denied
        )


class LaunchError(EngineError):
    """The container cannot be created or started, and another attempt would not help.

    The message contains the engine's own reason: a command that does not exist, a limit that the host cannot
    provide, an image without a command.
    """


class ImageMissingError(LaunchError):
    """The container cannot be created because its image is not on the engine (any more)."""


class RunGoneError(EngineError):
    """The container does not exist on the engine (any more)."""
