"""The one error of `core`: a value that breaks a rule. Callers translate it to their own errors."""


class InvalidValue(ValueError):
    """A value breaks a rule; the text is a sentence that says what is allowed."""
