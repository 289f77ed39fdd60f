"""What can go wrong between Timeball and an engine, told apart by what its caller should do next.

Pure. `EngineUnavailableError` means: wait and try again; every other one is a fact about this run.
"""

from __future__ import annotations

from scheduler.domain.errors import TimeballError


class EngineError(TimeballError):
    """Any failure of a call to an engine."""


class EngineUnavailableError(EngineError):
    """The engine cannot be reached, does not answer in time, or broke the connection.

    Nothing is known about the run that the call was about: the call may or may not have taken effect, so ask
    again (`Engine.find`, `Engine.inspect`) once the engine is back.
    """


class EngineTimeoutError(EngineUnavailableError):
    """The engine was reached, or seemed to be, but gave no answer in time."""


class EngineTroubledError(EngineUnavailableError):
    """The engine answered that it cannot do this now: it is there, but something of it is in trouble."""


class StreamBrokenError(EngineUnavailableError):
    """A stream of the engine ended in the middle of a frame, or holds what is no frame."""


class ImagePullError(EngineError):
    """The image cannot be had; the message carries the registry's or the engine's own words.

    Attributes:
        is_transient: whether another try, soon, may have it.
        has_stalled: whether it was given up for want of progress.
        is_denied: whether the registry denies it to who asked.
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
        """The same end in other words."""
        return ImagePullError(
            message, is_transient=self.is_transient, has_stalled=self.has_stalled, is_denied=self.is_denied
        )


class LaunchError(EngineError):
    """The container cannot be made or started, and trying again would change nothing.

    The message carries the engine's own reason: a command that does not exist, a limit the machine cannot
    give, an image without a command.
    """


class ImageMissingError(LaunchError):
    """The container cannot be made because its image is not on the engine (any more)."""


class LaunchForgottenError(LaunchError):
    """The engine died while it started the container: it neither knows the process nor starts another.

    The process did start, and may still be running on the engine's machine, out of the engine's reach.
    """


class RunGoneError(EngineError):
    """The container that the call is about is not on the engine (any more)."""
