"""What the language model doubles answer: rules over what the user said, else a list of replies.

A reply depends on the request alone, not on how many were made before: a turn that is asked twice (a speculation, a
retry, a second model) gets the same answer, and calls do not disturb one another.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec


class ToolRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call of the model."""

    name: str
    arguments: str = "{}"
    """JSON text, sent as it is: it may be broken on purpose."""


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model says, then the tools it calls."""

    text: str = ""
    tools: tuple[ToolRequest, ...] = ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words of the text with the white space before them."""
        return split_tokens(self.text)


@lru_cache(maxsize=1_024)
def split_tokens(text: str) -> tuple[str, ...]:
    """Cut a text into words with the white space before them; joined they give the text back."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))


class Prompt(msgspec.Struct, frozen=True):
    """What a request says, whichever protocol it came over."""

    user_texts: tuple[str, ...] = ()
    """Everything the user has said, oldest first."""
    tool: str = ""
    """The tool whose result ends the conversation; empty where the user had the last word."""
    tool_result: str = ""
    instructions: str = ""

    @property
    def said(self) -> str:
        """What the user said last."""
        return self.user_texts[-1] if self.user_texts else ""

    @property
    def tokens(self) -> int:
        """Its length as the doubles count it, in words."""
        return sum(len(text.split()) for text in (*self.user_texts, self.instructions, self.tool_result))


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reply to requests that match every condition that is given."""

    reply: Reply
    contains: str = ""
    """Part of what the user said last, in any letter case."""
    pattern: str = ""
    """Regular expression searched in it, in any letter case."""
    tool: str = ""
    """The tool that has just answered; a rule without it answers the user only."""

    def matches(self, prompt: Prompt) -> bool:
        """Return whether this rule answers the request."""
        said = prompt.said.lower()
        return (
            self.tool == prompt.tool
            and self.contains.lower() in said
            and (not self.pattern or re.search(self.pattern, said, re.IGNORECASE) is not None)
        )


class Dialogue(msgspec.Struct, forbid_unknown_fields=True):
    """The first rule that matches answers, else reply n answers the user's n-th turn, over and over."""

    rules: tuple[Rule, ...] = ()
    replies: tuple[Reply, ...] = (
        Reply("Of course, I can help you with that. What would you like to know?"),
        Reply("Let me see. We are open from nine in the morning until six in the evening, every day but Sunday."),
        Reply("Yes, that is no problem at all. Is there anything else that I can do for you?"),
    )
    after_tool: Reply = Reply("All right, that is done.")
    """The answer to a tool's result for which there is no rule."""

    def answer(self, prompt: Prompt) -> Reply:
        """Return the model's answer."""
        for rule in self.rules:
            if rule.matches(prompt):
                return rule.reply
        if prompt.tool:
            return self.after_tool
        if not self.replies:
            return Reply("Yes.")
        return self.replies[(max(1, len(prompt.user_texts)) - 1) % len(self.replies)]


Answer = Callable[[Prompt], Reply]
"""How a test answers by a function of its own."""
