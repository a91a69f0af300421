"""A process that runs jobs and nothing else: `voice-agent worker`. It holds no calls and loads no speech or models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from voice_agent.agents.files import load_agent
from voice_agent.agents.numbers import NumberService
from voice_agent.agents.service import AgentService
from voice_agent.app import (
    call_policy,
    campaign_scheduler,
    campaign_services,
    campaign_sweeper,
    carrier_recordings,
    contact_imports,
    file_storage,
    new_worker_id,
)
from voice_agent.background import Background
from voice_agent.calls.processor import CallProcessor
from voice_agent.calls.service import CallPorts, CallService
from voice_agent.compliance.packs import load_packs
from voice_agent.compliance.service import ComplianceService
from voice_agent.contacts.list_filling import ListFilling
from voice_agent.contacts.routes import ContactServices
from voice_agent.directory import CallDirectory
from voice_agent.integrations.twilio.addresses import TwilioAddresses
from voice_agent.integrations.twilio.service import TwilioService
from voice_agent.jobs.service import Jobs
from voice_agent.jobs.worker import Register, work
from voice_agent.process import configure_logging
from voice_agent.settings import Settings
from voice_agent.storage.database import Database


def run(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT. Raises SettingsError where this process may not run them."""
    configure_logging(settings.server.log_level)
    work(settings, handlers(settings))


def handlers(settings: Settings) -> Register:
    """Return what opens the parts that jobs need and registers their handlers."""

    @asynccontextmanager
    async def register(jobs: Jobs, database: Database) -> AsyncIterator[None]:
        agents = AgentService(_now)
        directory = CallDirectory(agents, NumberService(agents, _now), load_agent(settings.server.agent_file))
        policy = call_policy(settings)
        storage, _ = file_storage(settings, settings.server.public_base_url)
        async with TwilioService(settings.twilio) as twilio:
            recordings = carrier_recordings(settings, database, twilio, storage, jobs)
            processor = CallProcessor(database, twilio, directory, policy=policy, on_recording=recordings.note)
            compliance = ComplianceService(load_packs(settings.compliance.packs_dir), clock=_now)
            ports = CallPorts(
                database=database,
                compliance=compliance,
                carrier=twilio,
                agents=directory,
                addresses=TwilioAddresses(settings.server.public_base_url),
                jobs=jobs,
            )
            calls = CallService(
                ports,
                processor,
                default_policy=policy,
                clock=_now,
                calls_per_second=settings.twilio.calls_per_second,
            )
            ContactServices.over(
                database, jobs, compliance, zones_of_region=compliance.packs.zones_of_region, clock=_now
            ).register(jobs)
            ListFilling(database, jobs, _now).register(jobs)
            contact_imports(settings, database, storage, jobs, compliance).upkeep.register(jobs)
            campaigns = campaign_services(settings, database, jobs, compliance, calls)
            campaigns.register(jobs)
            scheduler = campaign_scheduler(settings, calls, compliance, campaigns.life, new_worker_id(settings))
            Background(database, calls, storage, recordings, settings.server.data_dir).register(jobs)
            processor.follow = campaigns.settling.follow
            sweeper = campaign_sweeper(database, processor, campaigns)
            await sweeper.open()
            try:
                if settings.twilio.has_token:
                    await scheduler.open()
                yield
            finally:
                await scheduler.close()
                await sweeper.close()
            await processor.close()
            await storage.close()

    return register


def _now() -> datetime:
    return datetime.now(UTC)
