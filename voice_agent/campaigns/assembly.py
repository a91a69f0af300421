"""Puts the parts of this slice together: what the routes are served by, and what there is to do in the background."""

from collections.abc import Callable
from datetime import datetime
from typing import Self

import msgspec

from voice_agent.campaigns.audience import LiveAudiences
from voice_agent.campaigns.callbacks import Callbacks
from voice_agent.campaigns.completion import Completion
from voice_agent.campaigns.derived import DerivedCampaigns, TrialCalls
from voice_agent.campaigns.dispositions import Dispositions
from voice_agent.campaigns.life import CampaignChores, CampaignLife
from voice_agent.campaigns.ports import Calls, JobRequests, Policies, Publish, tell_nobody
from voice_agent.campaigns.preflight import Preflight, PreflightPorts
from voice_agent.campaigns.service import CampaignService
from voice_agent.campaigns.settling import Settling
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts.lists import ContactListService
from voice_agent.jobs.service import Jobs
from voice_agent.storage.database import Database


class CampaignPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What campaigns need of the rest of the system."""

    database: Database
    jobs: JobRequests
    compliance: ComplianceService
    lists: ContactListService
    calls: Calls
    policy: Policies
    publish: Publish = tell_nobody
    missing_settings: tuple[str, ...] = ()
    """Settings without which no call can be placed."""


class CampaignServices(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the routes and the jobs of campaigns are served by; one for the process."""

    life: CampaignLife
    campaigns: CampaignService
    preflight: Preflight
    chores: CampaignChores
    audiences: LiveAudiences
    derived: DerivedCampaigns
    trials: TrialCalls
    dispositions: Dispositions
    settling: Settling
    callbacks: Callbacks
    completion: Completion

    @classmethod
    def over(cls, ports: CampaignPorts, clock: Callable[[], datetime]) -> Self:
        """Return all of them. `clock` returns the present in UTC."""
        life = CampaignLife(ports.jobs, ports.publish)
        preflight = Preflight(
            PreflightPorts(
                database=ports.database,
                life=life,
                compliance=ports.compliance,
                jobs=ports.jobs,
                policy=ports.policy,
                missing_settings=ports.missing_settings,
            ),
            clock=clock,
        )
        campaigns = CampaignService(life, preflight, clock)
        settling = Settling(ports.compliance, ports.publish, clock=clock)
        return cls(
            life=life,
            campaigns=campaigns,
            preflight=preflight,
            chores=CampaignChores(ports.database, life, ports.jobs, ports.calls, clock),
            audiences=LiveAudiences(ports.database, ports.jobs, clock),
            derived=DerivedCampaigns(ports.database, campaigns, ports.lists, ports.jobs, clock),
            trials=TrialCalls(ports.database, campaigns, ports.calls),
            dispositions=Dispositions(clock),
            settling=settling,
            callbacks=Callbacks(settling),
            completion=Completion(ports.database, life, clock),
        )

    def register(self, jobs: Jobs) -> None:
        """Say what there is to do in the background. Before `Jobs.open`."""
        for each in (self.preflight, self.chores, self.audiences, self.derived):
            each.register(jobs)
