"""The sandbox carrier: a local double of Twilio's REST interface, webhooks and media socket.

Everything a user of it needs is imported here; docs/sandbox.md is its manual.
"""

from voice_agent.sandbox.carrier.call import Call
from voice_agent.sandbox.carrier.carrier import Carrier, wait_for_calls
from voice_agent.sandbox.carrier.faults import CreateFault, CreateFaults, RecordingFault, RecordingFaults
from voice_agent.sandbox.carrier.forms import RestError
from voice_agent.sandbox.carrier.journal import Journal
from voice_agent.sandbox.carrier.line import Handset, Party
from voice_agent.sandbox.carrier.services import CallbackFaults, Callee, CarrierSettings, Synthesise

__all__ = [
    "Call",
    "CallbackFaults",
    "Callee",
    "Carrier",
    "CarrierSettings",
    "CreateFault",
    "CreateFaults",
    "Handset",
    "Journal",
    "Party",
    "RecordingFault",
    "RecordingFaults",
    "RestError",
    "Synthesise",
    "wait_for_calls",
]
