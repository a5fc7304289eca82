"""What ends a command early: the text is for the user, the number is the exit code."""


class CommandFailed(Exception):
    """The command could not do what it was asked.

    Attributes:
        exit_code: 1 where the gateway said no or the work failed, 2 where the command was wrong.
    """

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code
